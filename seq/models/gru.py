"""A stack of GRU layers over rows of uneven length."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from seq.config import GRUConfig


class GRU(nn.Module):
    """As `nn.GRU(batch_first=True)`, for padded rows with their lengths; B rows, T steps, D directions, L layers.

    The layers are single `nn.GRU`s with dropout between them: cuDNN's own dropout between layers keeps a state that
    cannot be made a function of the step.
    """

    def __init__(self, input_size: int, config: GRUConfig, *, bidirectional: bool) -> None:
        super().__init__()
        self.hidden_size = config.hidden_size
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

        Returns the states (B, T, D * H), of any value after a row's end, and for each layer and direction the last
        valid one (L * D, B, H): forward after the row's own last step, backward after its first.
        """
        exact = int(lengths.min()) == inputs.shape[1]
        last = []
        for number, layer in enumerate(self.layers):
            initial = None if hidden is None else hidden[number * self.directions : (number + 1) * self.directions]
            inputs = self.dropout(inputs) if number else inputs
            if exact or self.directions == 1:
                inputs, final = _run_padded(layer, inputs, lengths, initial, exact=exact)
            else:
                inputs, final = run_packed(layer, inputs, lengths, initial)
            last.append(final)
        return inputs, torch.cat(last)


def run_packed(layer: nn.Module, inputs: Tensor, lengths: Tensor, hidden: Tensor | None) -> tuple[Tensor, Tensor]:
    """The general way: the backward direction must start at each row's own end, so padding may not be read."""
    packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
    states, last = layer(packed, hidden)
    return pad_packed_sequence(states, batch_first=True, total_length=inputs.shape[1])[0], last


def _run_padded(
    layer: nn.Module, inputs: Tensor, lengths: Tensor, hidden: Tensor | None, *, exact: bool
) -> tuple[Tensor, Tensor]:
    """Rows of one length need no packing, nor does a single direction: what comes after a row's end cannot reach its
    states. On a CPU this spares the quadratic backward pass of packed input, on a GPU it allows faster kernels."""
    states, last = layer(inputs, hidden)
    if not exact:
        ends = (lengths - 1).to(states.device)[:, None, None].expand(-1, 1, states.shape[2])
        last = states.gather(1, ends).transpose(0, 1)
    return states, last


def _initialise(layer: nn.Module) -> None:
    """Orthogonal recurrent matrices (Saxe, McClelland and Ganguli, 2014), Glorot input matrices, zero biases but one:
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


class LockedDropout(nn.Module):
    """Dropout of whole features: one mask for all time steps of a row (Gal and Ghahramani, 2016)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """`inputs` (B, T, E); `mask` (B, 1, E), from `draw`, for a caller that has one row's steps in several calls."""
        return inputs * (self.draw(inputs) if mask is None else mask)

    def draw(self, like: Tensor) -> Tensor:
        """A mask (B, 1, E) for rows such as `like` (B, T, E); ones outside training."""
        return nn.functional.dropout(like.new_ones(len(like), 1, like.shape[2]), self.probability, self.training)
