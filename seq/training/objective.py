"""The loss of each task, as a sum over targets. It is divided once, by the targets of the whole step."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from seq.config import Config, Task
from seq.data.dataset import Batch
from seq.data.outputs import IGNORE_INDEX
from seq.data.ragged import Ints
from seq.data.split import Split
from seq.training.precision import Precision, autocast

LossSum = Callable[[Tensor, Tensor], Tensor]
"""(logits, targets) -> the sum, in fp32 or wider. Without any target it is 0, and so are its gradients."""


@dataclass(frozen=True)
class Objective:
    """The training loss."""

    loss_sum: LossSum
    precision: Precision

    @classmethod
    def of(cls, config: Config, train: Split, device: torch.device) -> "Objective":
        loss_sum, options = LOSSES[config.task], dict[str, Any]()
        if config.train.class_weights:
            assert isinstance(train.targets, np.ndarray)
            weights = class_weights(train.targets, train.outputs.size, config.train.class_weights)
            options["weights"] = weights.to(device)
        if config.train.label_smoothing:
            options["smoothing"] = config.train.label_smoothing
        return cls(partial(loss_sum, **options) if options else loss_sum, config.train.precision)

    def shard_loss(self, model: nn.Module, batch: Batch, hidden: Tensor | None) -> tuple[Tensor, Any]:
        """The shard's part of the step's loss, and the model's last state. `hidden`: the state to begin with."""
        with autocast(self.precision, batch.inputs.device):
            logits, last = model(**batch.arguments(hidden))
        return self.loss_sum(logits, batch.targets) / batch.num_targets, last


def class_weights(labels: Ints, classes: int, power: float) -> Tensor:
    """(C,) weights n^-power of classes with n rows each, such that a row has the mean weight 1; 0 for a class without rows."""
    counts = np.bincount(labels, minlength=classes)
    weights = np.where(counts > 0, counts.clip(min=1) ** -power, 0.0)
    return torch.from_numpy(weights * counts.sum() / (counts * weights).sum()).float()


def cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
    """In nats. `logits` (..., C), `targets` (...) with IGNORE_INDEX where there is none. A target counts the weight of its class in
    `weights` (C,); None: all 1. `smoothing`: share of the targets' probability that is spread over all classes (Szegedy and others,
    2016)."""
    wide, flat = _wide(logits).flatten(0, -2), targets.flatten()
    options: dict[str, Any] = {"ignore_index": IGNORE_INDEX, "label_smoothing": smoothing}
    if weights is None:
        return functional.cross_entropy(wide, flat, reduction="sum", **options)
    # torch's own `weight` weighs the smoothed part by all classes, not by the target's.
    each = functional.cross_entropy(wide, flat, reduction="none", **options)
    return (each * weights.index_select(0, flat.clamp(min=0))).sum()


def binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """In nats, the mean over the classes. `logits` and `targets` (B, C); rows of IGNORE_INDEX have none."""
    wide, there = _wide(logits), targets >= 0
    each = functional.binary_cross_entropy_with_logits(wide, targets.clamp(min=0).to(wide), reduction="none")
    return (each * there).sum() / logits.shape[-1]


def squared_error(logits: Tensor, targets: Tensor) -> Tensor:
    """`logits` (B, 1), `targets` (B,) with NaN where there is none; both in standard deviations."""
    wide, there = _wide(logits)[:, 0], ~targets.isnan()
    return ((wide - targets.nan_to_num().to(wide)) ** 2 * there).sum()


def _wide(logits: Tensor) -> Tensor:
    return logits.double() if logits.dtype.itemsize == 8 else logits.float()


LOSSES: dict[Task, LossSum] = {
    "classification": cross_entropy,
    "multilabel": binary_cross_entropy,
    "regression": squared_error,
    "language_modeling": cross_entropy,
    "conditional_language_modeling": cross_entropy,
    "tagging": cross_entropy,
    "seq2seq": cross_entropy,
}
