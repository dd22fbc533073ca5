"""Which weights a run ends with: the last ones, their mean over the last steps, or those of its best evaluation."""

import math
from collections.abc import Mapping
from typing import Any

import torch

from seq.config import Config
from seq.errors import UserError
from seq.models import Model
from seq.tasks import METRICS

EVERY = 10
"""Steps between two sets of weights in the mean. Consecutive weights hardly differ, and adding all of them takes time."""


class Selection:
    """Everything here follows from weights and figures that are equal on every rank, so all ranks decide alike.

    `average`: a second model, for the mean of the weights over the last `train.average_last` of the steps; None without it.
    """

    def __init__(self, config: Config, model: Model, average: Model | None) -> None:
        self._trained, self._average, self._share = model, average, config.train.average_last
        self.figure, self._patience = config.checkpoint.monitor, config.train.patience
        self._taken, self._stale = 0, 0
        self.best_step, self.best_value = 0, None

    best_value: float | None

    @property
    def model(self) -> Model:
        """The model that is evaluated, sampled from and exported: the mean once it has begun, and the trained model before."""
        return self._average if self._average is not None and self._taken else self._trained

    @torch.no_grad()
    def after_step(self, step: int, last_step: int) -> None:
        """Take the weights after `step` into the mean, if it is due."""
        if self._average is None or step <= last_step * (1 - self._share) or (step % EVERY and step != last_step):
            return
        self._taken += 1
        pairs = zip(self._average.parameters(), self._trained.parameters(), strict=True)
        averages, weights = (list(part) for part in zip(*pairs, strict=True))
        torch._foreach_lerp_(averages, weights, 1 / self._taken)

    def judge(self, step: int, figures: Mapping[str, float]) -> bool:
        """True if this evaluation is the best so far; False without `checkpoint.monitor`, and for NaN. Of equal ones the first counts.
        UserError if the data have no such figure: tags may have no parts."""
        if self.figure is None:
            return False
        if self.figure not in figures:
            raise UserError(f"checkpoint.monitor={self.figure}: these data give {', '.join(figures)}")
        sign = 1 if METRICS[self.figure].better == "higher" else -1
        value, self._stale = figures[self.figure], self._stale + 1
        if math.isnan(value) or (self.best_value is not None and sign * value <= sign * self.best_value):
            return False
        self.best_step, self.best_value, self._stale = step, value, 0
        return True

    @property
    def out_of_patience(self) -> bool:
        """True after `train.patience` evaluations that were no better than the best one."""
        return 0 < self._patience <= self._stale

    def use(self, weights: dict[str, Any]) -> None:
        """From now on `model` has these weights, those of the best evaluation."""
        self.model.load_state_dict(weights)

    def result(self) -> dict[str, Any] | None:
        """The step whose weights were chosen; None if there was no choice, or no evaluation yet."""
        if self.figure is None or not self.best_step:
            return None
        return {"figure": self.figure, "step": self.best_step, "value": self.best_value}

    def state_dict(self) -> dict[str, Any]:
        average = self._average.state_dict() if self._average is not None and self._taken else None
        counts = {"taken": self._taken, "stale": self._stale}
        return counts | {"best_step": self.best_step, "best_value": self.best_value, "average": average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._taken, self._stale = state["taken"], state["stale"]
        self.best_step, self.best_value = state["best_step"], state["best_value"]
        if state["average"] is not None and self._average is not None:
            self._average.load_state_dict(state["average"])
