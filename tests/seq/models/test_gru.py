"""Padded, packed and one by one give the same numbers; so does a plain nn.GRU."""

from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from seq.config import GRUConfig
from seq.config.model import Path
from seq.models.gru import GRU

Lengths = st.lists(st.integers(1, 7), min_size=1, max_size=5)


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


@pytest.mark.parametrize("layers", [1, 2])
def test_dropout_between_layers_only(layers: int) -> None:
    gru = GRU(4, GRUConfig(hidden_size=5, num_layers=layers, dropout=0.5), bidirectional=False)
    inputs, lengths = torch.randn(2, 3, 4), torch.tensor([3, 3])
    assert torch.equal(gru(inputs, lengths)[0], gru(inputs, lengths)[0]) == (layers == 1)
