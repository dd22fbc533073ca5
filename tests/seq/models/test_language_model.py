import pytest
import torch
from hypothesis import given
from torch import Tensor

from seq.config import LanguageModelConfig
from seq.models.language_model import LanguageModel
from tests.seq.models.test_gru import Lengths


def padded_ids(lengths: list[int], vocab_size: int = 9) -> tuple[Tensor, Tensor]:
    torch.manual_seed(sum(lengths))
    inputs = torch.randint(1, vocab_size, (len(lengths), max(lengths)))
    outside = torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None]
    return inputs.masked_fill(outside, 0), torch.tensor(lengths)


@given(Lengths)
def test_language_model_is_causal_and_ignores_padding(lengths: list[int]) -> None:
    torch.manual_seed(0)
    model = LanguageModel(LanguageModelConfig(hidden_size=5, embedding_dim=4), 9).double()
    inputs, tensor = padded_ids(lengths)
    together = model(inputs, tensor)[0]
    for row, length in enumerate(lengths):
        for time in range(1, length + 1):
            alone = model(inputs[row : row + 1, :time], torch.tensor([time]))[0]
            torch.testing.assert_close(together[row, time - 1], alone[0, -1], rtol=0, atol=1e-12)


def test_tied_weights_are_one_parameter() -> None:
    model = LanguageModel(LanguageModelConfig(hidden_size=6, embedding_dim=6, tie_weights=True), 9)
    assert model.output.weight is model.embedding.weight
    assert [name for name, _ in model.named_parameters() if "output" in name] == ["output.bias"]


def _free_running(model: LanguageModel, inputs: Tensor) -> Tensor:
    """The lecture's loop: each input is the model's own last prediction."""
    tokens = inputs[:, :1]
    for _ in range(inputs.shape[1]):
        logits: Tensor = model(tokens, torch.full((len(inputs),), tokens.shape[1]))[0]
        tokens = torch.cat([tokens, logits[:, -1:].argmax(-1)], dim=1)
    return logits


@pytest.mark.parametrize("ngrams", [0, 3])
def test_teacher_forcing_and_free_running(ngrams: int) -> None:
    torch.manual_seed(0)
    config = LanguageModelConfig(hidden_size=8, embedding_dim=4, num_layers=2, ngrams=ngrams)
    model = LanguageModel(config, 9, teacher_forcing=0.0).double()
    model.embedding.weight.data.mul_(3)
    inputs, lengths = padded_ids([7, 7, 7])
    torch.testing.assert_close(model(inputs, lengths)[0], _free_running(model, inputs))
    forced = model._read(inputs, lengths, None, inputs.new_zeros(3, model.reach), None)[0]
    assert not torch.allclose(model(inputs, lengths)[0], forced)
    # In evaluation the true tokens are given, whatever training does.
    torch.testing.assert_close(model.eval()(inputs, lengths)[0], forced)
    model.train().teacher_forcing = 0.5
    torch.manual_seed(1)
    first = model(inputs, lengths)[0]
    torch.manual_seed(1)
    assert torch.equal(model(inputs, lengths)[0], first)
    assert not torch.allclose(first, forced)


def test_locked_dropout_is_locked_in_free_running_too() -> None:
    """Nearly always forced, so nearly the fused path: with a mask of its own for each step, it would be far off."""
    config = LanguageModelConfig(hidden_size=8, embedding_dim=6, embedding_dropout=0.5)
    model = LanguageModel(config, 9, teacher_forcing=0.999999).double()
    inputs, lengths = padded_ids([7, 7, 7])
    mask = torch.tensor([[[2.0, 0, 2, 0, 2, 2]]], dtype=torch.float64).expand(3, 1, 6)
    model.embedding_dropout.draw = lambda like: mask  # type: ignore[method-assign]
    nothing = inputs.new_zeros(3, 0)
    torch.testing.assert_close(model(inputs, lengths)[0], model._read(inputs, lengths, None, nothing, mask)[0])
