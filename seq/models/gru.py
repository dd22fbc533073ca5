"""A stack of GRU layers over rows of uneven length."""

from torch import Tensor, nn

from seq.config import GRUConfig
from seq.models.paths import PATHS, choose_path


class GRU(nn.Module):
    """As `nn.GRU(batch_first=True)`, for padded rows with their lengths; B rows, T steps, D directions, L layers.

    The layers are single `nn.GRU`s with dropout between them: cuDNN's own dropout between layers keeps a state that
    cannot be made a function of the step. There are several ways to run them, with one result: see `seq.models.paths`.
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

        Returns the states (B, T, D * H), of any value after a row's end, and for each layer and direction the last
        valid one (L * D, B, H): forward after the row's own last step, backward after its first.
        """
        if hidden is None:
            hidden = inputs.new_zeros(len(self.layers) * self.directions, inputs.shape[0], self.hidden_size)
        path = choose_path(inputs, lengths, self.directions) if self.path == "auto" else self.path
        return PATHS[path](self.layers, inputs, lengths, hidden, self.dropout)


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
