"""The mean of weights, the best evaluation, and patience."""

import pytest
import torch

from seq.config import Config
from seq.config.read import override_config
from seq.errors import UserError
from seq.models import Model, build_model
from seq.training.selection import Selection


def make(*words: str) -> tuple[Selection, Model]:
    config = override_config(Config(), ["model.hidden_size=4", "model.embedding_dim=4", *words], where="test")
    model, average = (build_model(config, vocab_size=9, num_outputs=3) for _ in range(2))
    return Selection(config, model, average if config.train.average_last else None), model


def test_the_mean_is_that_of_a_slow_loop() -> None:
    """Over the last half of 100 steps: those after 50, every tenth, and the last one."""
    selection, model = make("train.average_last=0.5")
    seen: list[int] = []
    for step in range(1, 104):
        with torch.no_grad():
            for weight in model.parameters():
                weight.copy_(torch.full_like(weight, float(step)))
        assert (selection.model is model) == (not seen)
        selection.after_step(step, 103)
        if step in (60, 70, 80, 90, 100, 103):
            seen.append(step)
        if seen:
            mean = sum(seen) / len(seen)
            assert all(torch.allclose(weight, torch.tensor(mean)) for weight in selection.model.parameters())


def test_the_best_evaluation_and_patience() -> None:
    selection, _ = make("checkpoint.monitor=macro_f1", "train.patience=2")
    figures = [0.1, float("nan"), 0.3, 0.3, 0.2]
    judged = [selection.judge(step, {"macro_f1": value}) for step, value in enumerate(figures, 1)]
    assert judged == [True, False, True, False, False]
    assert selection.result() == {"figure": "macro_f1", "step": 3, "value": 0.3}
    assert selection.out_of_patience
    again, _ = make("checkpoint.monitor=macro_f1", "train.patience=2")
    again.load_state_dict(selection.state_dict())
    assert again.out_of_patience
    assert again.result() == selection.result()


def test_nan_is_never_the_best() -> None:
    selection, _ = make("checkpoint.monitor=loss")
    assert [selection.judge(step, {"loss": value}) for step, value in enumerate([float("nan"), 0.5, 0.1], 1)] == [
        False,
        True,
        True,
    ]
    assert selection.result() == {"figure": "loss", "step": 3, "value": 0.1}


def test_a_loss_shall_fall() -> None:
    selection, _ = make("checkpoint.monitor=loss")
    assert selection.result() is None, "no evaluation yet: a run may be stopped here"
    assert [selection.judge(step, {"loss": value}) for step, value in enumerate([2.0, 3.0, 1.0])] == [True, False, True]
    assert not selection.out_of_patience


def test_a_figure_that_the_data_do_not_have() -> None:
    with pytest.raises(UserError, match=r"checkpoint.monitor=macro_f1: these data give loss, accuracy"):
        make("checkpoint.monitor=macro_f1")[0].judge(1, {"loss": 1.0, "accuracy": 0.5})


def test_without_a_choice_the_last_weights_count() -> None:
    selection, model = make()
    assert not selection.judge(1, {"loss": 1.0})
    assert selection.result() is None
    assert selection.model is model


@pytest.mark.parametrize("taken", [0, 2])
def test_the_mean_goes_on_where_a_checkpoint_ends(taken: int) -> None:
    whole, model = make("train.average_last=1.0")
    for step in range(1, 10 * taken + 1):
        whole.after_step(step, 100)
    resumed, other = make("train.average_last=1.0")
    other.load_state_dict(model.state_dict())
    resumed.load_state_dict(whole.state_dict())
    for selection in (whole, resumed):
        selection.after_step(30, 100)
    pairs = zip(whole.model.parameters(), resumed.model.parameters(), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)
