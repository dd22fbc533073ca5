"""Padded, packed and one by one give the same numbers; so does a plain nn.GRU."""

from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from seq.config import ClassifierConfig, GRUConfig, LanguageModelConfig
from seq.config.model import Path
from seq.models.classifier import Classifier
from seq.models.gru import GRU
from seq.models.language_model import LanguageModel

Lengths = st.lists(st.integers(1, 7), min_size=1, max_size=5)


def padded_ids(lengths: list[int], vocab_size: int = 9) -> tuple[Tensor, Tensor]:
    torch.manual_seed(sum(lengths))
    inputs = torch.randint(1, vocab_size, (len(lengths), max(lengths)))
    outside = torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None]
    return inputs.masked_fill(outside, 0), torch.tensor(lengths)


def as_nn_gru(gru: GRU, input_size: int, layers: int) -> nn.GRU:
    """The same weights in one `nn.GRU`."""
    whole = nn.GRU(input_size, gru.hidden_size, layers, batch_first=True, bidirectional=gru.directions == 2).double()
    for number, layer in enumerate(gru.layers):
        for name, value in layer.state_dict().items():
            getattr(whole, name.replace("_l0", f"_l{number}")).data.copy_(value)
    return whole


@given(Lengths, st.integers(1, 3), st.booleans(), st.booleans())
def test_padded_rows_are_those_one_by_one_in_nn_gru(
    lengths: list[int], layers: int, bidirectional: bool, with_hidden: bool
) -> None:
    torch.manual_seed(0)
    gru = GRU(4, GRUConfig(hidden_size=5, num_layers=layers), bidirectional=bidirectional).double()
    reference = as_nn_gru(gru, 4, layers)
    inputs = torch.randn(len(lengths), max(lengths), 4, dtype=torch.float64)
    hidden = torch.randn(layers * gru.directions, len(lengths), 5, dtype=torch.float64) if with_hidden else None
    states, last = gru(inputs, torch.tensor(lengths), hidden)
    assert states.shape == (len(lengths), max(lengths), 5 * gru.directions)
    for row, length in enumerate(lengths):
        initial = None if hidden is None else hidden[:, row : row + 1].contiguous()
        own_states, own_last = reference(inputs[row : row + 1, :length], initial)
        torch.testing.assert_close(states[row, :length], own_states[0], rtol=0, atol=1e-12)
        torch.testing.assert_close(last[:, row], own_last[:, 0], rtol=0, atol=1e-12)


@given(Lengths, st.integers(1, 3), st.booleans())
def test_all_paths_agree_with_their_gradients(lengths: list[int], layers: int, bidirectional: bool) -> None:
    """Values, gradients of every weight, of the inputs and of the initial states; one state dict."""
    results = []
    for path in get_args(Path):
        torch.manual_seed(0)
        config = GRUConfig(hidden_size=5, num_layers=layers, path=path)
        gru = GRU(4, config, bidirectional=bidirectional).double()
        inputs = torch.randn(len(lengths), max(lengths), 4, dtype=torch.float64, requires_grad=True)
        hidden = torch.randn(layers * gru.directions, len(lengths), 5, dtype=torch.float64, requires_grad=True)
        states, last = gru(inputs, torch.tensor(lengths), hidden)
        inside = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
        loss = states[inside].square().sum() + last.sin().sum()
        gradients = torch.autograd.grad(loss, [inputs, hidden, *gru.parameters()])
        results.append([loss, states * inside[:, :, None], last, *gradients])
    for other in results[1:]:
        torch.testing.assert_close(results[0], other, rtol=0, atol=1e-11)


@pytest.mark.parametrize("path", ["dense", "scan", "auto"])
def test_paths_in_the_precisions_of_training(path: Path) -> None:
    """fp32 within 1e-6 of packed `nn.GRU`; under bf16 autocast within its 8 bits."""
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.bfloat16, 2e-2)):
        results = []
        ways: tuple[Path, Path] = ("packed", path)
        for way in ways:
            torch.manual_seed(0)
            gru = GRU(16, GRUConfig(hidden_size=24, num_layers=2, path=way), bidirectional=True)
            lengths = torch.tensor([30, 22, 30, 7])
            inputs = torch.randn(4, 30, 16)
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
                states, last = gru(inputs, lengths)
            inside = torch.arange(30) < lengths[:, None]
            loss = states[inside].float().square().mean() + last.float().mean()
            results.append([last.float(), *torch.autograd.grad(loss, list(gru.parameters()))])
        torch.testing.assert_close(results[0], results[1], rtol=0, atol=tolerance)


@given(Lengths, st.booleans(), st.integers(1, 2))
def test_classifier_does_not_see_padding(lengths: list[int], bidirectional: bool, layers: int) -> None:
    torch.manual_seed(0)
    config = ClassifierConfig(hidden_size=5, embedding_dim=4, num_layers=layers, bidirectional=bidirectional)
    model = Classifier(config, 9, 3).double()
    inputs, tensor = padded_ids(lengths)
    together = model(inputs, tensor)[0]
    alone = [model(inputs[row : row + 1, :length], tensor[row : row + 1])[0] for row, length in enumerate(lengths)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-12)


def test_classifier_reads_both_directions() -> None:
    """The lecture's own code reads `hidden[-1]`, the backward direction alone."""
    torch.manual_seed(0)
    model = Classifier(ClassifierConfig(hidden_size=5, embedding_dim=4), 9, 3)
    inputs, lengths = padded_ids([3, 5])
    model(inputs, lengths)[0].sum().backward()
    gradients = {name: p.grad.abs().sum().item() for name, p in model.gru.named_parameters() if p.grad is not None}
    assert len(gradients) == 8
    assert min(gradients.values()) > 0
    expected = torch.cat([model.gru(model.embedding(inputs), lengths)[1][side] for side in (0, 1)], dim=1)
    torch.testing.assert_close(model(inputs, lengths)[0], model.output(expected))


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


@pytest.mark.parametrize("layers", [1, 2])
def test_dropout_between_layers_only(layers: int) -> None:
    gru = GRU(4, GRUConfig(hidden_size=5, num_layers=layers, dropout=0.5), bidirectional=False)
    inputs, lengths = torch.randn(2, 3, 4), torch.tensor([3, 3])
    assert torch.equal(gru(inputs, lengths)[0], gru(inputs, lengths)[0]) == (layers == 1)


def test_locked_dropout_is_locked_in_free_running_too() -> None:
    """Nearly always forced, so nearly the fused path: with a mask of its own for each step, it would be far off."""
    config = LanguageModelConfig(hidden_size=8, embedding_dim=6, embedding_dropout=0.5)
    model = LanguageModel(config, 9, teacher_forcing=0.999999).double()
    inputs, lengths = padded_ids([7, 7, 7])
    mask = torch.tensor([[[2.0, 0, 2, 0, 2, 2]]], dtype=torch.float64).expand(3, 1, 6)
    model.embedding_dropout.draw = lambda like: mask  # type: ignore[method-assign]
    nothing = inputs.new_zeros(3, 0)
    torch.testing.assert_close(model(inputs, lengths)[0], model._read(inputs, lengths, None, nothing, mask)[0])
