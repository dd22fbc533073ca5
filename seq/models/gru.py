"""A stack of GRU layers over rows of uneven length, and the paths that run it: equal results at different speeds.

Each path takes the layers (each an `nn.GRU` of one layer), `inputs` (B, T, I), `lengths` (B,) on the CPU, `hidden`
(L * D, B, H) and the dropout between layers. It returns states and last states as `GRU.forward` describes them.
"""

from collections.abc import Callable, Iterable

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

# The limits below come from `python -m benchmarks.gru`.
SHORT = 16
"""On a CPU, `nn.GRU` is used for rows without padding that are shorter than this; for others the scan is faster."""
MOST_PADDING = 0.15
"""On a GPU, it is faster to compute the padding than to pack the rows, up to this share of padding."""


def choose_path(inputs: Tensor, lengths: Tensor, directions: int) -> str:
    """Depends on the shard's shape and the kind of device, never on a clock, because the path changes the last bits."""
    rows, longest = inputs.shape[:2]
    padding = 1 - int(lengths.sum()) / (rows * longest)
    if inputs.device.type == "cpu":
        return "dense" if padding == 0 and longest < SHORT else "scan"
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


def run_scan(
    layers: Iterable[nn.Module], inputs: Tensor, lengths: Tensor, hidden: Tensor, dropout: nn.Module
) -> tuple[Tensor, Tensor]:
    """Packed rows, in time linear in their length; see `seq.models.scan`."""
    packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
    data, sizes, order = packed.data, packed.batch_sizes, packed.sorted_indices
    assert order is not None
    ordered = lengths[order.cpu()]
    # Row i's step t is at starts[t] + i. `ends`: each row's last step; `turned`: its steps in reverse.
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
