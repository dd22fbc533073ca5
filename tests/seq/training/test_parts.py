"""Objective, schedule, optimizer, ledger, metrics."""

import math
import time
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from launch.seeding import fast_fp32_error
from seq.config import Config, OptimizerConfig
from seq.config.read import override_config
from seq.data.dataset import IGNORE_INDEX
from seq.data.plan import ShardSizes
from seq.errors import UserError
from seq.run.ledger import Ledger
from seq.training import precision
from seq.training.metrics import LEVELS, Tally, classifier_figures, language_model_figures, per_class, precision_recall
from seq.training.objective import loss_sum
from seq.training.optimizer import lr_at, make_optimizer
from seq.training.precision import fix_arithmetic_of
from seq.training.state import Progress


def test_loss_is_the_sum_over_real_targets() -> None:
    logits = torch.randn(2, 3, 4, requires_grad=True)
    targets = torch.tensor([[1, IGNORE_INDEX, 3], [IGNORE_INDEX] * 3])
    expected = -sum(logits[0, time].log_softmax(-1)[targets[0, time]] for time in (0, 2))
    torch.testing.assert_close(loss_sum(logits, targets), expected)
    empty = loss_sum(logits, torch.full_like(targets, IGNORE_INDEX))
    torch.autograd.backward(empty)
    assert empty.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@given(st.sampled_from(["constant", "cosine", "linear"]), st.integers(0, 50), st.integers(51, 300), st.floats(0, 1))
def test_schedule(schedule: str, warmup: int, total: int, final: float) -> None:
    config = OptimizerConfig(lr=2.0, warmup_steps=warmup, schedule=schedule, final_lr=final)  # type: ignore[arg-type]
    warmup = min(warmup, total // 2)
    rates = [lr_at(step, total, config) for step in range(total)]
    assert all(0 <= rate <= 2.0 + 1e-12 for rate in rates)
    assert rates[:warmup] == pytest.approx([2.0 * (step + 1) / warmup for step in range(warmup)])
    assert rates[warmup] == pytest.approx(2.0)
    after = rates[warmup:]
    assert all(early >= late - 1e-12 for early, late in pairwise(after))
    if len(after) > 1:
        assert rates[-1] == pytest.approx(2.0 if schedule == "constant" else 2.0 * final)
    if schedule == "linear":
        assert after[: 3 * (len(after) - 1) // 4] == pytest.approx([2.0] * (3 * (len(after) - 1) // 4))


def test_matrices_decay_and_vectors_do_not() -> None:
    model = nn.Linear(3, 2)
    optimizer = make_optimizer(model, OptimizerConfig(lr=0.1, weight_decay=0.5))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(model.weight.detach(), before["weight"] * (1 - 0.1 * 0.5))
    assert torch.equal(model.bias.detach(), before["bias"])


def test_ledger_adds_up() -> None:
    ledger = Ledger()
    with ledger("compute"):
        time.sleep(0.02)
    assert list(ledger.each("data", [1, 2])) == [1, 2]
    ledger.started()
    ledger.rebook("compute", "sync", 0.005)
    # The earlier start had booked 6 s at its last checkpoint, and lived for 8.
    lived = ledger.wall()
    ledger.add_earlier({"compute": 5.0, "other": 1.0}, 8.0)
    summary = ledger.summary()
    assert set(summary) == {"compute", "sync", "data", "startup", "lost", "other"}
    assert summary["compute"] == pytest.approx(5.015, abs=0.02)
    assert summary["lost"] == pytest.approx(2.0)
    assert summary["startup"] > 0.01  # this test's process has lived longer than its ledger
    assert sum(summary.values()) == pytest.approx(8.0 + lived, abs=0.5)
    figures = ledger.figures()
    assert sum(figures["ledger"].values()) == pytest.approx(figures["wall_seconds"], rel=0.02)
    assert figures["goodput"] == pytest.approx(summary["compute"] / figures["wall_seconds"], rel=0.1)


Counts = st.integers(1, 6).flatmap(
    lambda size: st.lists(st.lists(st.integers(0, 9), min_size=size, max_size=size), min_size=size, max_size=size)
)


@given(Counts.filter(lambda rows: sum(map(sum, rows)) > 0))
def test_classifier_figures_are_those_of_torchmetrics(rows: list[list[int]]) -> None:
    from torchmetrics.functional.classification import multiclass_accuracy, multiclass_f1_score

    confusion = np.array(rows)
    pairs = [(true, guess) for (true, guess), count in np.ndenumerate(confusion) for _ in range(count)]
    target, predicted = (torch.tensor(side) for side in zip(*pairs, strict=True))
    figures = classifier_figures(3.0, confusion)
    size = max(2, len(rows))
    f1 = multiclass_f1_score(predicted, target, num_classes=size, average="macro")
    accuracy = multiclass_accuracy(predicted, target, num_classes=size, average="micro")
    assert figures["macro_f1"] == pytest.approx(f1.item(), abs=1e-6)
    assert figures["accuracy"] == pytest.approx(accuracy.item(), abs=1e-6)
    assert figures["loss"] == 3.0 / confusion.sum()
    assert sum(row["support"] for row in per_class(confusion)) == len(pairs)


def test_precision_and_recall_are_those_of_torchmetrics_at_each_threshold() -> None:
    """In two batches, with the dummy row of an empty shard, and a class without rows."""
    from torchmetrics.functional.classification import multiclass_precision_recall_curve

    torch.manual_seed(0)
    logits, targets, tally = 2 * torch.randn(60, 4), torch.randint(0, 3, (60,)), Tally(4, torch.device("cpu"))
    tally.add(logits[:40], targets[:40])
    tally.add(torch.cat([logits[40:], torch.randn(1, 4)]), torch.cat([targets[40:], torch.tensor([-100])]))
    assert tally.confusion.sum() == 60
    thresholds = torch.arange(LEVELS) / LEVELS
    precision, recall, _ = multiclass_precision_recall_curve(
        logits.softmax(-1), targets, num_classes=4, thresholds=thresholds
    )
    assert precision_recall(tally.scores[3].numpy()) == []
    for number in range(3):
        reached = int((thresholds <= logits.softmax(-1)[:, number].max()).sum())
        want = torch.stack([recall[number][:reached], precision[number][:reached]], dim=1).flip(0)
        assert reached > 10
        np.testing.assert_allclose(precision_recall(tally.scores[number].numpy()), want, atol=1e-6)


def test_logits_that_are_not_numbers_are_counted_too() -> None:
    tally = Tally(3, torch.device("cpu"))
    tally.add(torch.tensor([[torch.nan, 0, 0], [torch.inf, torch.inf, 0]]), torch.tensor([1, 2]))
    assert int(tally.confusion.sum()) == 2
    assert int(tally.scores.sum()) == 6


def test_language_model_figures() -> None:
    figures = language_model_figures(math.log(2) * 30, math.log(2) * 40, num_targets=11, num_characters=10)
    assert figures["bits_per_char"] == pytest.approx(3.0)
    assert figures["loss"] == pytest.approx(math.log(2) * 30 / 11)
    assert figures["perplexity"] == pytest.approx(2 ** (30 / 11))
    assert figures["window_bits_per_char"] == pytest.approx(4.0)


def test_progress_counts() -> None:
    progress = Progress()
    progress.advance(ShardSizes(rows=np.array([2, 1]), tokens=np.array([7, 3]), padded_tokens=np.array([8, 3])))
    figures = progress.figures()
    assert (progress.step, figures["tokens_seen"], figures["examples_seen"]) == (1, 10, 3)
    assert figures["padding_fraction"] == pytest.approx(1 - 10 / 11)
    assert figures["imbalance"] == pytest.approx(7 / 5 - 1)


def test_arithmetic_that_is_not_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def fix(*words: str, device: str = "cpu") -> None:
        fix_arithmetic_of(override_config(Config(), words, where="test"), torch.device(device))

    with pytest.raises(UserError, match="tf32 needs a GPU"):
        fix("train.precision=tf32")
    with pytest.raises(UserError, match="fast_fp32 is for CPUs"):
        fix("train.fast_fp32=true", device="cuda")
    monkeypatch.setattr(precision, "fast_fp32_error", lambda: 4e-3)
    with pytest.raises(UserError, match=r"relative error of 4\.0e-03, above 1e-05"):
        fix("train.fast_fp32=true")


def test_fast_fp32_error_is_measured_against_fp64() -> None:
    assert 0 < fast_fp32_error() < 1e-2
