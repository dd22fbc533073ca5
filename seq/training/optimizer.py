"""AdamW, also for the rows of tables; and what changes from step to step, as functions of the step."""

import math

import torch
from torch import Tensor, nn

from launch.sparse_gradients import existing_rows, write_rows
from seq.config import OptimizerConfig, TrainConfig

EPSILON = 1e-8
"""As in `torch.optim.AdamW`."""


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """Matrices have weight decay, vectors (biases) have none. Fused: one kernel for all parameters, on CPU and CUDA."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)


class RowAdamW:
    """AdamW without momentum (betas 0 and `betas[1]`) for a table of which a step reads few rows.

    Without momentum, a step without a gradient changes a row only by decay, of its weights and of its averages. So the missed decay is
    applied when the row is read again, as in lazy Adam, and the other rows are not touched. The result is that of
    AdamW (Kingma and Ba, 2015; Loshchilov and Hutter, 2019) on all rows, except for weight decay: missed decay is applied at the
    learning rate of the later step, and a row that is not read again keeps its weights.

    `squares` (rows, dim): the averages of squared gradients. `last` (rows,): the step in which a row was last read. `steps`: all
    steps so far.
    """

    def __init__(self, weight: Tensor, config: OptimizerConfig) -> None:
        self.weight, self.squares = weight, torch.zeros_like(weight)
        self.last = torch.zeros(len(weight), dtype=torch.int64, device=weight.device)
        self.steps = torch.zeros((), dtype=torch.int64, device=weight.device)
        self._beta, self._weight_decay = config.betas[1], config.weight_decay

    @torch.no_grad()
    def step(self, rows: Tensor, gradient: Tensor, *, lr: float, divide_by: Tensor, bad: Tensor) -> None:
        """`rows` (N,), each once, and their `gradient` (N, dim), to be divided by `divide_by`. Rows that do not exist, after the
        last one, are left out. Nothing changes where `bad` is True; that is decided on the device."""
        self.steps += ~bad
        # A bad gradient becomes zero. It may be infinite or NaN, also after the division.
        gradient = (gradient / divide_by.where(~bad, torch.inf)).nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
        rows, gradient = existing_rows(rows, gradient, len(self.weight))
        last = self.last.index_select(0, rows)
        missed = torch.where(bad, 0, self.steps - last)
        write_rows(self.last, rows, last + missed)
        squares = self.squares.index_select(0, rows).mul_((self._beta**missed)[:, None])
        squares.addcmul_(gradient, gradient, value=1 - self._beta)
        write_rows(self.squares, rows, squares)
        scale = squares.div_(1 - self._beta ** self.steps.clamp(min=1)).sqrt_().add_(EPSILON)
        weight = self.weight.index_select(0, rows).mul_(((1 - lr * self._weight_decay) ** missed)[:, None])
        write_rows(self.weight, rows, weight.addcdiv_(gradient, scale, value=-lr))

    def state_dict(self) -> dict[str, Tensor]:
        return {"squares": self.squares, "last": self.last, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, tensor in self.state_dict().items():
            tensor.copy_(state[name])


def lr_at(step: int, total_steps: int, config: OptimizerConfig) -> float:
    """Learning rate of `step` (0 to total_steps - 1): linear warm-up, then the schedule, which would reach `final_lr` one step after the
    last. A pure function, so no schedule state is saved."""
    warmup = min(config.warmup_steps, total_steps // 2)
    if step < warmup:
        return config.lr * (step + 1) / warmup
    if config.schedule == "constant":
        return config.lr
    if config.schedule == "cosine":
        height = 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total_steps - warmup)))
    else:
        height = min(1.0, 4 * (total_steps - step) / total_steps)
    return config.lr * (config.final_lr + (1 - config.final_lr) * height)


def teacher_forcing_at(step: int, total_steps: int, config: TrainConfig) -> float:
    """Scheduled sampling (Bengio and others, 2015): from `teacher_forcing` at the first step in a straight line to
    `teacher_forcing_end` at the last."""
    end = config.teacher_forcing if config.teacher_forcing_end is None else config.teacher_forcing_end
    return config.teacher_forcing + (end - config.teacher_forcing) * step / max(1, total_steps - 1)
