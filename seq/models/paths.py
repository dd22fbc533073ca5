"""Ways to run a stack of GRU layers over uneven rows: one result, at different speeds.

All take the layers (each an `nn.GRU` of one layer), `inputs` (B, T, I), `lengths` (B,) on the CPU, `hidden` (L * D, B, H)
and the dropout between layers, and return states and last states as `GRU.forward` describes them.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from seq.models.scan import scan

Path = Callable[[Iterable[nn.Module], Tensor, Tensor, Tensor, nn.Module], tuple[Tensor, Tensor]]

# Where one way becomes faster than the next, by `python -m seq.benchmark gru`.
SHORT = 16
"""On a CPU, rows without padding and shorter than this go through `nn.GRU`; for longer ones the scan is faster."""
MOST_PADDING = 0.15
"""On a GPU, up to this share of padding, computing it costs less than leaving it out."""


def choose_path(inputs: Tensor, lengths: Tensor, directions: int) -> str:
    """A function of the shard's shape and the kind of device, never of a clock: the path changes the last bits."""
    rows, longest = inputs.shape[:2]
    padding = 1 - int(lengths.sum()) / (rows * longest)
    if inputs.device.type == "cpu":
        return "dense" if padding == 0 and longest < SHORT else "scan"
    return "dense" if padding == 0 or (padding <= MOST_PADDING and directions == 1) else "packed"


def run_dense(
    layers: Iterable[nn.Module], inputs: Tensor, lengths: Tensor, hidden: Tensor, dropout: nn.Module
) -> tuple[Tensor, Tensor]:
    """Padding is computed and left unread. The backward direction reads each row from its own end, as a forward
    direction over rows turned around."""
    steps = torch.arange(inputs.shape[1])
    ends = (lengths - 1)[:, None]
    turned = torch.where(steps <= ends, ends - steps, steps).to(inputs.device)
    exact, last = int(lengths.min()) == inputs.shape[1], []
    for number, layer in enumerate(layers):
        inputs = dropout(inputs) if number else inputs
        directions = 2 if layer.bidirectional else 1
        initial = hidden[number * directions : (number + 1) * directions]
        if exact:
            inputs, final = layer(inputs, initial)
        else:
            parts = [_one_direction(layer, "", inputs, initial[:1], ends)]
            if directions == 2:
                states, final = _one_direction(layer, "_reverse", _turn(inputs, turned), initial[1:], ends)
                parts.append((_turn(states, turned), final))
            inputs, final = torch.cat([part[0] for part in parts], dim=2), torch.cat([part[1] for part in parts])
        last.append(final)
    return inputs, torch.cat(last)


def _one_direction(
    layer: nn.Module, suffix: str, inputs: Tensor, initial: Tensor, ends: Tensor
) -> tuple[Tensor, Tensor]:
    states, _ = torch.gru(inputs, initial, _weights(layer, suffix), True, 1, 0.0, layer.training, False, True)
    places = ends.to(states.device)[:, :, None].expand(-1, 1, states.shape[2])
    return states, states.gather(1, places).transpose(0, 1)


def _turn(values: Tensor, turned: Tensor) -> Tensor:
    """Each row's steps from its own end to its beginning; what lies behind stays there."""
    return values.gather(1, turned[:, :, None].expand_as(values))


def _weights(layer: nn.Module, suffix: str) -> list[Tensor]:
    return [getattr(layer, f"{name}_l0{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]


def run_packed(
    layers: Iterable[nn.Module], inputs: Tensor, lengths: Tensor, hidden: Tensor, dropout: nn.Module
) -> tuple[Tensor, Tensor]:
    """`nn.GRU` on packed rows: the reference, and cuDNN's way to leave padding out."""
    packed, last = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False), []
    for number, layer in enumerate(layers):
        directions = 2 if layer.bidirectional else 1
        packed = packed._replace(data=dropout(packed.data)) if number else packed
        packed, final = layer(packed, hidden[number * directions : (number + 1) * directions])
        last.append(final)
    return pad_packed_sequence(packed, batch_first=True, total_length=inputs.shape[1])[0], torch.cat(last)


def run_scan(
    layers: Iterable[nn.Module], inputs: Tensor, lengths: Tensor, hidden: Tensor, dropout: nn.Module
) -> tuple[Tensor, Tensor]:
    """Packed rows, in time linear in their length: see `seq.models.scan`."""
    packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
    data, sizes, order = packed.data, packed.batch_sizes, packed.sorted_indices
    assert order is not None
    ordered = lengths[order.cpu()]
    # Row i's step t lies at starts[t] + i; its last step, and its steps turned around.
    starts = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)[:-1]])
    ends = starts[ordered - 1] + torch.arange(len(ordered))
    times = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
    rows = torch.arange(len(data)) - starts[times]
    turned = starts[ordered[rows] - 1 - times] + rows
    last = []
    for number, layer in enumerate(layers):
        data = dropout(data) if number else data
        directions = 2 if layer.bidirectional else 1
        initial = hidden[number * directions : (number + 1) * directions, order]
        states = [scan(data, initial[0], sizes.tolist(), _weights(layer, ""))]
        last.append(states[0][ends])
        if directions == 2:
            backward = scan(data[turned], initial[1], sizes.tolist(), _weights(layer, "_reverse"))
            last.append(backward[ends])
            states.append(backward[turned])
        data = torch.cat(states, dim=1)
    whole = PackedSequence(data, sizes, packed.sorted_indices, packed.unsorted_indices)
    padded, _ = pad_packed_sequence(whole, batch_first=True, total_length=inputs.shape[1])
    return padded, torch.stack(last)[:, packed.unsorted_indices]


PATHS: dict[str, Path] = {"dense": run_dense, "packed": run_packed, "scan": run_scan}
