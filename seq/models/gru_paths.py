"""The ways to run a stack of GRU layers over rows of uneven length: equal results at different speeds.

Each takes the weights of the layers, `inputs` (B, T, I), `lengths` (B,) on the CPU, `hidden` (L * D, B, H) and the dropout
between layers. It returns states and last states as `GRU.forward` describes them.
"""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from launch.device import to_device
from seq.models.scan import scan

Layer = list[list[Tensor]]
"""For each direction W_i, W_h, b_i, b_h, as `nn.GRU` has them."""
Path = Callable[[list[Layer], Tensor, Tensor, Tensor, nn.Module], tuple[Tensor, Tensor]]

OPTIONS = (True, 1, 0.0)
"""Arguments of `torch.gru`: with biases, one layer, no dropout of its own."""

# cuDNN wants the weights of a layer in one block. Those of one direction, or cast to bf16, are copied into one in each call.
warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")


def choose_path(device: torch.device) -> str:
    """It depends on the kind of device alone, never on a clock, because the path changes the last bits. On a GPU, packed rows
    lose cuDNN's persistent kernels, and take several times as long as the padding (pytorch#149194)."""
    return "scan" if device.type == "cpu" else "dense"


def run_dense(
    layers: list[Layer], inputs: Tensor, lengths: Tensor, hidden: Tensor, dropout: nn.Module
) -> tuple[Tensor, Tensor]:
    """Padding is computed and ignored. The backward direction is a forward direction over reversed rows, so it reads each
    row from its own end."""
    if int(lengths.min()) == inputs.shape[1]:
        return _run_exact(layers, inputs, hidden, dropout)
    ends = (lengths - 1)[:, None]
    places, last = to_device(ends, inputs.device), []
    turned = to_device(_reversed(ends, inputs.shape[1]), inputs.device) if len(layers[0]) == 2 else None
    initial = iter(hidden.split(1))  # type: ignore[no-untyped-call]
    for number, layer in enumerate(layers):
        inputs = dropout(inputs) if number else inputs
        states, final = _one_direction(layer[0], inputs, next(initial), places)
        last.append(final)
        if turned is not None:
            backward, final = _one_direction(layer[1], _turn(inputs, turned), next(initial), places)
            states = torch.cat([states, _turn(backward, turned)], dim=2)
            last.append(final)
        inputs = states
    return inputs, torch.cat(last)


def _run_exact(layers: list[Layer], inputs: Tensor, hidden: Tensor, dropout: nn.Module) -> tuple[Tensor, Tensor]:
    """Without padding, one call computes both directions."""
    last, directions = [], len(layers[0])
    for number, layer in enumerate(layers):
        inputs = dropout(inputs) if number else inputs
        initial = hidden[number * directions : (number + 1) * directions]
        inputs, final = torch.gru(
            inputs, initial, _flat(layer), *OPTIONS, torch.is_grad_enabled(), directions == 2, True
        )
        last.append(final)
    return inputs, torch.cat(last)


def _flat(layer: Layer) -> list[Tensor]:
    return [weight for direction in layer for weight in direction]


def _one_direction(weights: list[Tensor], inputs: Tensor, initial: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    # cuDNN keeps what the backward pass needs only in its training mode.
    states, _ = torch.gru(inputs, initial, weights, *OPTIONS, torch.is_grad_enabled(), False, True)
    return states, states.gather(1, ends[:, :, None].expand(-1, 1, states.shape[2])).transpose(0, 1)


def _reversed(ends: Tensor, longest: int) -> Tensor:
    """(B, T): the steps of each row from its end to its beginning; the padding stays in place."""
    steps = torch.arange(longest)
    return torch.where(steps <= ends, ends - steps, steps)


def _turn(values: Tensor, turned: Tensor) -> Tensor:
    return values.gather(1, turned[:, :, None].expand_as(values))


def run_packed(
    layers: list[Layer], inputs: Tensor, lengths: Tensor, hidden: Tensor, dropout: nn.Module
) -> tuple[Tensor, Tensor]:
    """`nn.GRU` on packed rows: the reference."""
    order = lengths.argsort(descending=True, stable=True)
    there, back = to_device(order, inputs.device), to_device(order.argsort(), inputs.device)
    data, sizes, *_ = pack_padded_sequence(inputs.index_select(0, there), lengths[order], batch_first=True)
    hidden, last, directions = hidden.index_select(1, there), [], len(layers[0])
    for number, layer in enumerate(layers):
        data = dropout(data) if number else data
        initial = hidden[number * directions : (number + 1) * directions]
        data, final = _packed_layer(data, sizes, initial, _flat(layer), both=directions == 2)
        last.append(final)
    states, _ = pad_packed_sequence(PackedSequence(data, sizes), batch_first=True, total_length=inputs.shape[1])
    return states.index_select(0, back), torch.cat(last).index_select(1, back)


def _packed_layer(
    data: Tensor, sizes: Tensor, initial: Tensor, weights: list[Tensor], *, both: bool
) -> tuple[Tensor, Tensor]:
    """One layer on rows as `pack_padded_sequence` packs them."""
    return torch.gru(data, sizes, initial, weights, *OPTIONS, torch.is_grad_enabled(), both)


class _Packing(NamedTuple):
    """Rows as `pack_padded_sequence` packs them, the longest first, with the indices that a scan needs. All tensors are on the
    device of the inputs."""

    data: Tensor
    """(N, I), packed by time."""
    sizes: list[int]
    """Rows that run at each time step."""
    ends: Tensor
    """(B,) the index in `data` of each row's last step."""
    turned: Tensor
    """(N,) the index of the same row's step in reverse time."""
    order: Tensor
    """(B,) the rows of `inputs` from the longest to the shortest."""
    back: Tensor
    """(B,) the inverse of `order`."""


def _pack(inputs: Tensor, lengths: Tensor) -> _Packing:
    (rows, longest), device = inputs.shape[:2], inputs.device
    if int(lengths.min()) == longest:  # no padding: packing is a transposition
        places = torch.arange(rows * longest, device=device).view(longest, rows)
        same = torch.arange(rows, device=device)
        return _Packing(
            inputs.transpose(0, 1).flatten(0, 1), [rows] * longest, places[-1], places.flip(0).flatten(), same, same
        )
    # The indices are made on the CPU, where the lengths are, and then copied: a GPU would have to be waited for.
    ordered, order = lengths.sort(descending=True)
    there, back = to_device(order, device), to_device(order.argsort(), device)
    data, sizes, *_ = pack_padded_sequence(inputs.index_select(0, there), ordered, batch_first=True)
    # Row i's step t is at starts[t] + i.
    starts = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)[:-1]])
    times = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
    own = torch.arange(len(data)) - starts[times]
    ends, turned = starts[ordered - 1] + torch.arange(rows), starts[ordered[own] - 1 - times] + own
    return _Packing(data, sizes.tolist(), to_device(ends, device), to_device(turned, device), there, back)


def _unpack(data: Tensor, packing: _Packing, longest: int) -> Tensor:
    """(N, H) -> (B, T, H)."""
    rows = len(packing.back)
    if len(packing.sizes) == longest and packing.sizes[-1] == rows:
        return data.view(longest, rows, -1).transpose(0, 1)
    # With the indices, `pad_packed_sequence` would copy them to the host.
    padded, _ = pad_packed_sequence(
        PackedSequence(data, torch.tensor(packing.sizes)), batch_first=True, total_length=longest
    )
    return padded.index_select(0, packing.back)


def run_scan(
    layers: list[Layer], inputs: Tensor, lengths: Tensor, hidden: Tensor, dropout: nn.Module
) -> tuple[Tensor, Tensor]:
    """Packed rows, in time linear in their length, for CPUs; see `seq.models.scan`."""
    packing, both = _pack(inputs, lengths), len(layers[0]) == 2
    data, turned, last = packing.data, packing.turned, []
    for number, layer in enumerate(layers):
        data = dropout(data) if number else data
        initial = hidden[number * len(layer) : (number + 1) * len(layer), packing.order]
        states = scan(torch.stack([data, data[turned]]) if both else data[None], initial, packing.sizes, layer)
        last.append(states[:, packing.ends])
        data = torch.cat([states[0], states[1, turned]], dim=1) if both else states[0]
    return _unpack(data, packing, inputs.shape[1]), torch.cat(last)[:, packing.back]


PATHS: dict[str, Path] = {"dense": run_dense, "packed": run_packed, "scan": run_scan}
