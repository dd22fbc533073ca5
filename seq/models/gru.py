"""A stack of GRU layers over rows of uneven length: its weights, its state, and the precision in which it computes."""

from typing import Any, Self

import torch
from torch import Tensor, nn

from launch.passes import spread
from seq.config import GRUConfig
from seq.models.gru_paths import PATHS, Ends, Layer, choose_path
from seq.models.layers import Dropout

NAMES, DIRECTIONS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"), ("", "_reverse")
"""The parameters of an `nn.GRU` of one layer."""
CUDNN_FOR_BF16 = 91300
"""The first cuDNN (9.13) whose GRU takes bf16 (pytorch#164411)."""


class GRU(nn.Module):
    """Like `nn.GRU(batch_first=True)`, for padded rows with their lengths; B rows (of all shards of a pass), T steps, D directions, L
    layers.

    The layers are single `nn.GRU`s with dropout between them, because cuDNN's own dropout between layers keeps a state
    that cannot be a function of the step.

    Its state is one tensor (L * D, B, `state_size`), in which rows are chosen, repeated and set to zero along the second axis. No other
    file knows what is in it.
    """

    def __init__(
        self, input_size: int, config: GRUConfig, *, bidirectional: bool, num_layers: int | None = None
    ) -> None:
        """`num_layers`: those of the config if None."""
        super().__init__()
        self.path, self.hidden_size = config.path, config.hidden_size
        self.directions, self.state_size = 2 if bidirectional else 1, config.hidden_size
        sizes = [input_size] + [self.directions * config.hidden_size] * ((num_layers or config.num_layers) - 1)
        self.layers = nn.ModuleList(
            nn.GRU(size, config.hidden_size, batch_first=True, bidirectional=bidirectional) for size in sizes
        )
        self.dropout = Dropout(config.dropout)
        for layer in self.layers:
            assert isinstance(layer, nn.RNNBase)
            _initialise(layer)

    def _apply(self, *arguments: Any, **options: Any) -> Self:
        """Called by `to`. The weights of each direction come into one block, from which cuDNN reads them without a copy."""
        super()._apply(*arguments, **options)  # type: ignore[no-untyped-call]
        for layer in self.layers:
            for direction in DIRECTIONS[: self.directions]:
                own = [getattr(layer, f"{name}{direction}") for name in NAMES]
                block = torch.cat([weight.data.flatten() for weight in own])
                for weight, part in zip(own, torch.split(block, [weight.numel() for weight in own]), strict=True):
                    weight.data = part.view_as(weight)
        return self

    def initial(self, like: Tensor, rows: int) -> Tensor:
        """The state of `rows` rows that begin, zeros of the type of `like`."""
        return like.new_zeros(len(self.layers) * self.directions, rows, self.state_size)

    def outputs_of(self, state: Tensor) -> Tensor:
        """(..., state_size) -> (..., H): the part of a state that the next layer reads."""
        return state

    def forward(self, inputs: Tensor, lengths: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`inputs` (B, T, input_size), `lengths` (B,) on the CPU, `hidden` the state to begin with, zeros if None.

        Returns the outputs (B, T, D * H), undefined after a row's end, and for each layer and direction the last valid
        state: forward after the row's last step, backward after its first.
        """
        if hidden is None:
            hidden = self.initial(inputs, inputs.shape[0])
        kind = inputs.device.type
        if not torch.is_autocast_enabled(kind):
            return self._run(inputs, lengths, hidden)
        # cuDNN's GRU under autocast computes in fp16 whatever the type of autocast, and without a loss scale its small
        # gradients become zero. So everything is cast here.
        dtype = autocast_dtype(kind)
        with torch.autocast(kind, enabled=False):
            return self._run(inputs.to(dtype), lengths, hidden.to(dtype))

    def _run(self, inputs: Tensor, lengths: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        run = PATHS[choose_path(inputs.device) if self.path == "auto" else self.path]
        ends, last = Ends.of(inputs, lengths, directions=self.directions), []
        for number, initial in enumerate(hidden.split(self.directions)):  # type: ignore[no-untyped-call]
            inputs = self.dropout(inputs) if number else inputs
            inputs, final = run(self._weights(number, inputs.dtype), inputs, initial, ends)
            last.append(final)
        return inputs, torch.cat(last)

    def _weights(self, number: int, dtype: torch.dtype) -> Layer:
        layer = self.layers[number]
        weights = [getattr(layer, f"{name}{side}") for side in DIRECTIONS[: self.directions] for name in NAMES]
        spread_weights = spread(weights, dtype)
        return [spread_weights[first : first + len(NAMES)] for first in range(0, len(weights), len(NAMES))]


def autocast_dtype(kind: str) -> torch.dtype:
    """The type in which the GRU computes under autocast on a `kind` of device: that of autocast, but fp32 instead of bf16 where
    cuDNN is older than CUDNN_FOR_BF16."""
    dtype = torch.get_autocast_dtype(kind)
    return torch.float32 if dtype == torch.bfloat16 and not has_bf16_gru(kind) else dtype


def has_bf16_gru(kind: str) -> bool:
    """Whether a `kind` of device has a GRU in bf16. With CUDA, it depends on cuDNN."""
    return kind != "cuda" or (torch.backends.cudnn.version() or 0) >= CUDNN_FOR_BF16  # type: ignore[no-untyped-call]


def _initialise(layer: nn.RNNBase) -> None:
    """Orthogonal recurrent matrices (Saxe, McClelland and Ganguli, 2014), Glorot input matrices, zero biases, but
    +1 for the update gate, so that a fresh state is kept for a while (Jozefowicz, Zaremba and Sutskever, 2015)."""
    for name, parameter in layer.named_parameters():
        gates = parameter.data.chunk(len(parameter) // layer.hidden_size)
        for gate in gates:
            if name.startswith("bias"):
                nn.init.zeros_(gate)
            elif name.startswith("weight_hh"):
                nn.init.orthogonal_(gate)
            else:
                nn.init.xavier_uniform_(gate)
        if name.startswith("bias_ih"):
            nn.init.ones_(gates[1])
