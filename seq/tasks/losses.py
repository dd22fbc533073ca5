"""Losses, as sums over targets. A sum is divided once, by the targets of the whole step."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from seq.data.outputs import IGNORE_INDEX


def cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
    """In nats. `logits` (..., C), `targets` (...) with IGNORE_INDEX where there is none. A target counts the weight of its class in
    `weights` (C,); None: all 1. `smoothing`: share of the targets' probability that is spread over all classes (Szegedy and others,
    2016)."""
    wide, flat = widened(logits).flatten(0, -2), targets.flatten()
    options: dict[str, Any] = {"ignore_index": IGNORE_INDEX, "label_smoothing": smoothing}
    if weights is None:
        return functional.cross_entropy(wide, flat, reduction="sum", **options)
    # torch's own `weight` weighs the smoothed part by all classes, not by the target's.
    each = functional.cross_entropy(wide, flat, reduction="none", **options)
    return (each * weights.index_select(0, flat.clamp(min=0))).sum()


def binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """In nats, the mean over the classes. `logits` and `targets` (B, C); rows of IGNORE_INDEX have none."""
    wide, there = widened(logits), targets >= 0
    each = functional.binary_cross_entropy_with_logits(wide, targets.clamp(min=0).to(wide), reduction="none")
    return (each * there).sum() / logits.shape[-1]


def squared_error(logits: Tensor, targets: Tensor) -> Tensor:
    """`logits` (B, 1), `targets` (B,) with NaN where there is none; both in standard deviations."""
    wide, there = widened(logits)[:, 0], ~targets.isnan()
    return ((wide - targets.nan_to_num().to(wide)) ** 2 * there).sum()


def widened(logits: Tensor) -> Tensor:
    """The logits in fp32, or in fp64 if they are fp64 already."""
    return logits.double() if logits.dtype == torch.float64 else logits.float()
