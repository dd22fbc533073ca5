"""The loss, as a sum over targets. It is divided once, by the targets of the whole step."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from seq.data.dataset import IGNORE_INDEX, Batch
from seq.data.ragged import Ints
from seq.training.precision import Precision, autocast


def shard_loss(
    model: nn.Module, batch: Batch, hidden: Tensor | None, precision: Precision, weights: Tensor | None = None
) -> tuple[Tensor, Any]:
    """The shard's part of the step's loss, and the model's last state. `hidden`: the state to begin with; `weights`: of the
    classes, as in `loss_sum`."""
    with autocast(precision, batch.inputs.device):
        logits, last = model(**batch.arguments(hidden))
    return loss_sum(logits, batch.targets, weights) / batch.num_targets, last


def class_weights(labels: Ints, classes: int, power: float) -> Tensor | None:
    """(C,) weights n^-power of classes with n rows each, such that a row has the mean weight 1; None if all are 1."""
    if power == 0:
        return None
    counts = np.bincount(labels, minlength=classes).clip(min=1)
    weights = counts**-power
    return torch.from_numpy(weights * counts.sum() / (counts * weights).sum()).float()


def loss_sum(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy in nats, summed over all targets but IGNORE_INDEX, in fp32 or wider.

    `logits` (..., C), `targets` (...), `weights` (C,): of the targets' classes; None: all 1. Without any target the sum is 0, and so are its gradients.
    """
    wide = logits.double() if logits.dtype.itemsize == 8 else logits.float()
    options: dict[str, Any] = {"weight": weights, "ignore_index": IGNORE_INDEX, "reduction": "sum"}
    return functional.cross_entropy(wide.flatten(0, -2), targets.flatten(), **options)
