"""A stack of GRU layers over rows of uneven length, and the paths that run it: equal results at different speeds.

Each path takes the layers (each an `nn.GRU` of one layer), `inputs` (B, T, I), `lengths` (B,) on the CPU, `hidden`
(L * D, B, H) and the dropout between layers. It returns states and last states as `GRU.forward` describes them.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from seq.config import GRUConfig
from seq.models.scan import scan


class GRU(nn.Module):
    """Like `nn.GRU(batch_first=True)`, for padded rows with their lengths; B rows, T steps, D directions, L layers.

    The layers are single `nn.GRU`s with dropout between them, because cuDNN's own dropout between layers keeps a state
    that cannot be a function of the step.
    """

    def __init__(self, input_size: int, config: GRUConfig, *, bidirectional: bool) -> None:
        super().__init__()
        self.path, self.hidden_size = config.path, config.hidden_size
        self.directions = 2 if bidirectional else 1
        sizes = [input_size] + [self.directions * config.hidden_size] * (config.num_layers - 1)
        self.layers = nn.ModuleList(
            nn.GRU(size, config.hidden_size, batch_first=True, bidirectional=bidirectional) for size in sizes
        )
        self.dropout = nn.Dropout(config.dropout)
        for layer in self.layers:
            _initialise(layer)

    def forward(self, inputs: Tensor, lengths: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`inputs` (B, T, input_size), `lengths` (B,) on the CPU, `hidden` (L * D, B, H), zeros if None.

        Returns the states (B, T, D * H), undefined after a row's end, and for each layer and direction the last valid
        state (L * D, B, H): forward after the row's last step, backward after its first.
        """
        if hidden is None:
            hidden = inputs.new_zeros(len(self.layers) * self.directions, inputs.shape[0], self.hidden_size)
        path = choose_path(inputs, lengths, self.directions) if self.path == "auto" else self.path
        return PATHS[path](self.layers, inputs, lengths, hidden, self.dropout)


def _initialise(layer: nn.Module) -> None:
    """Orthogonal recurrent matrices (Saxe, McClelland and Ganguli, 2014), Glorot input matrices, zero biases, but
    +1 for the update gate, so that a fresh state is kept for a while (Jozefowicz, Zaremba and Sutskever, 2015)."""
    for name, parameter in layer.named_parameters():
        reset, update, new = parameter.data.chunk(3)
        for gate in (reset, update, new):
            if name.startswith("bias"):
                nn.init.zeros_(gate)
            elif name.startswith("weight_hh"):
                nn.init.orthogonal_(gate)
            else:
                nn.init.xavier_uniform_(gate)
        if name.startswith("bias_ih"):
            nn.init.ones_(update)


Path = Callable[[Iterable[nn.Module], Tensor, Tensor, Tensor, nn.Module], tuple[Tensor, Tensor]]

# The limit comes from `python -m benchmarks.gru`.
MOST_PADDING = 0.15
"""On a GPU, it is faster to compute the padding than to pack the rows, up to this share of padding."""


def choose_path(inputs: Tensor, lengths: Tensor, directions: int) -> str:
    """Depends on the shard's shape and the kind of device, never on a clock, because the path changes the last bits."""
    rows, longest = inputs.shape[:2]
    padding = 1 - int(lengths.sum()) / (rows * longest)
    if inputs.device.type == "cpu":
        return "scan"
    return "dense" if padding == 0 or (padding <= MOST_PADDING and directions == 1) else "packed"


def run_dense(
    layers: Iterable[nn.Module], inputs: Tensor, lengths: Tensor, hidden: Tensor, dropout: nn.Module
) -> tuple[Tensor, Tensor]:
    """Padding is computed and ignored. The backward direction is a forward direction over reversed rows, so it reads each
    row from its own end."""
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
    """Reverses each row up to its end; the padding stays in place."""
    return values.gather(1, turned[:, :, None].expand_as(values))


def _weights(layer: nn.Module, suffix: str) -> list[Tensor]:
    return [getattr(layer, f"{name}_l0{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]


def run_packed(
    layers: Iterable[nn.Module], inputs: Tensor, lengths: Tensor, hidden: Tensor, dropout: nn.Module
) -> tuple[Tensor, Tensor]:
    """`nn.GRU` on packed rows: the reference, and cuDNN's way to skip padding."""
    packed, last = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False), []
    for number, layer in enumerate(layers):
        directions = 2 if layer.bidirectional else 1
        packed = packed._replace(data=dropout(packed.data)) if number else packed
        packed, final = layer(packed, hidden[number * directions : (number + 1) * directions])
        last.append(final)
    return pad_packed_sequence(packed, batch_first=True, total_length=inputs.shape[1])[0], torch.cat(last)


class _Packing(NamedTuple):
    """Rows as `pack_padded_sequence` packs them, the longest first, with what a scan needs to know of them."""

    data: Tensor
    """(N, I), packed by time."""
    sizes: list[int]
    """Rows that run at each time step."""
    ends: Tensor
    """(B,) the place in `data` of each row's last step."""
    turned: Tensor
    """(N,) the place of the same row's step in reverse time."""
    order: Tensor
    """(B,) the rows of `inputs` from the longest to the shortest."""


def _pack(inputs: Tensor, lengths: Tensor) -> _Packing:
    rows, longest = inputs.shape[:2]
    if int(lengths.min()) == longest:  # no padding: packing is a transposition
        places = torch.arange(rows * longest).view(longest, rows)
        data = inputs.transpose(0, 1).flatten(0, 1)
        return _Packing(data, [rows] * longest, places[-1], places.flip(0).flatten(), torch.arange(rows))
    packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
    sizes, order = packed.batch_sizes, packed.sorted_indices
    assert order is not None
    ordered = lengths[order.cpu()]
    # Row i's step t is at starts[t] + i.
    starts = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)[:-1]])
    times = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
    own = torch.arange(len(packed.data)) - starts[times]
    ends, turned = starts[ordered - 1] + torch.arange(rows), starts[ordered[own] - 1 - times] + own
    return _Packing(packed.data, sizes.tolist(), ends, turned, order)


def _unpack(data: Tensor, packing: _Packing, longest: int) -> Tensor:
    """(N, H) -> (B, T, H)."""
    back = packing.order.argsort()
    if len(packing.sizes) == longest and packing.sizes[-1] == len(back):
        return data.view(longest, len(back), -1).transpose(0, 1)
    whole = PackedSequence(data, torch.tensor(packing.sizes), packing.order, back)
    return pad_packed_sequence(whole, batch_first=True, total_length=longest)[0]


def run_scan(
    layers: Iterable[nn.Module], inputs: Tensor, lengths: Tensor, hidden: Tensor, dropout: nn.Module
) -> tuple[Tensor, Tensor]:
    """Packed rows, in time linear in their length; see `seq.models.scan`."""
    packing = _pack(inputs, lengths)
    data, turned, last = packing.data, packing.turned, []
    for number, layer in enumerate(layers):
        data = dropout(data) if number else data
        directions = ("", "_reverse") if layer.bidirectional else ("",)
        initial = hidden[number * len(directions) : (number + 1) * len(directions), packing.order]
        both = torch.stack([data, data[turned]]) if layer.bidirectional else data[None]
        states = scan(both, initial, packing.sizes, [_weights(layer, direction) for direction in directions])
        last.append(states[:, packing.ends])
        data = torch.cat([states[0], states[1, turned]], dim=1) if layer.bidirectional else states[0]
    return _unpack(data, packing, inputs.shape[1]), torch.cat(last)[:, packing.order.argsort()]


PATHS: dict[str, Path] = {"dense": run_dense, "packed": run_packed, "scan": run_scan}
