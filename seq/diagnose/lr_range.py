"""A learning-rate range test: training with a rate that grows from step to step, whose result is discarded.

Smith, 2017 (arXiv:1506.01186): the loss falls fastest where the rate is good, and rises where it is too high.
"""

import math
from dataclasses import dataclass, field

from rich.table import Table

from seq.data.loader import BatchLoader
from seq.errors import UserError
from seq.terminal import progress_bar
from seq.training.pass_size import choose_pass_size
from seq.training.step import Trainer

LOWEST, HIGHEST, STEPS = 1e-5, 1.0, 120
SMOOTH = 0.85
"""Weight of earlier losses in the running mean that is judged, because the loss of a single step jumps."""
DIVERGED = 2.0
"""The test ends when the loss exceeds its minimum by this factor."""
MARGIN = 3.0
"""The suggestion is the rate of the lowest loss, divided by this."""


@dataclass
class LrRange:
    rates: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    """Smoothed, in nats."""

    @property
    def suggestion(self) -> float:
        """A third of the rate at which the loss was lowest, which leaves room below the rates where it rises; two digits."""
        lowest = self.losses.index(min(self.losses))
        return float(f"{self.rates[lowest] / MARGIN:.1e}")

    def table(self, rows: int = 24) -> Table:
        """The curve as bars, one for every few steps."""
        table = Table("learning rate", "loss", "", title="learning-rate range test", title_justify="left")
        low, high = min(self.losses), max(self.losses)
        for place in range(0, len(self.rates), max(1, len(self.rates) // rows)):
            share = (self.losses[place] - low) / max(high - low, 1e-9)
            table.add_row(f"{self.rates[place]:.1e}", f"{self.losses[place]:.4f}", "#" * (1 + round(40 * share)))
        return table


def lr_range(trainer: Trainer, batches: BatchLoader) -> LrRange:
    """Try rising learning rates over the first steps of a run. UserError if there is no finite loss."""
    found, mean = LrRange(), 0.0
    choose_pass_size(trainer, batches)
    for number, passes in enumerate(progress_bar(batches.steps(0, STEPS), "learning rates", total=STEPS)):
        rate = LOWEST * (HIGHEST / LOWEST) ** (number / (STEPS - 1))
        trainer.use_lr(rate)
        losses = trainer.accumulate_gradients(passes)
        trainer.update(losses)
        loss = losses.sum().item()
        if not math.isfinite(loss):
            break
        mean = SMOOTH * mean + (1 - SMOOTH) * loss
        found.rates.append(rate)
        found.losses.append(mean / (1 - SMOOTH ** (number + 1)))
        if found.losses[-1] > DIVERGED * min(found.losses):
            break
    trainer.close()
    if not found.losses:
        raise UserError("the loss of the first step is not finite; look at the data with python -m seq.inspect")
    return found
