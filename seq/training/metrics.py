"""Every figure of a run: its name, unit and direction in one table, and how it follows from exact sums."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Metric:
    name: str
    """In metrics.jsonl, result.json, W&B and TensorBoard."""
    title: str
    """For people: on a chart or above a figure."""
    spec: str = ".4g"
    """Python's format of its values."""
    unit: str = ""
    better: Literal["lower", "higher"] | None = None
    """None: neither."""

    @property
    def label(self) -> str:
        """Title and unit."""
        return f"{self.title}, {self.unit}" if self.unit else self.title


EVALUATION = (
    Metric("accuracy", "accuracy", ".4f", better="higher"),
    Metric("macro_f1", "macro F1", ".4f", better="higher"),
    Metric("bits_per_char", "bits per character", ".4f", better="lower"),
    Metric("window_bits_per_char", "bits per character, in windows", ".4f", better="lower"),
    Metric("perplexity", "perplexity", ".4f", better="lower"),
    Metric("loss", "loss", ".4f", "nats", "lower"),
    Metric("window_loss", "loss, in windows", ".4f", "nats", "lower"),
)
"""Figures of an evaluation, in the order of their importance to people."""

SAMPLES = (
    Metric("known_words", "known words", ".1%", better="higher"),
    Metric("copied", "copied", ".1%", better="lower"),
    Metric("distinct_3", "distinct triples", ".1%", better="higher"),
)
"""Figures of a language model's samples; see `seq.inference.samples`."""

TRAINING = (
    Metric("grad_norm", "gradient norm"),
    Metric("lr", "learning rate"),
    Metric("tokens_per_second", "speed", ",.0f", "tokens / s", "higher"),
    Metric("padding_fraction", "padding", ".2%", better="lower"),
)
"""Figures of training steps, beside their loss."""

METRICS = {metric.name: metric for metric in (*EVALUATION, *SAMPLES, *TRAINING)}


def show(name: str, value: Any) -> str:
    """The value as people read it."""
    if not isinstance(value, float):
        return str(value)
    spec = METRICS[name].spec if name in METRICS else ".4g"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if spec == ".4f" and abs(value) < 0.001 else format(value, spec)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The result of an evaluation. `figures` are scalars. A classifier also has a (C, C) confusion matrix, true classes
    by row, and the `scores` of `Tally`."""

    figures: dict[str, float]
    confusion: NDArray[np.int64] | None = None
    scores: NDArray[np.int64] | None = None


class Tally:
    """Counts of a classifier's predictions. They are integers, so their sum over ranks is exact in any order.

    `confusion` (C, C): rows by true and predicted class. `scores` (C, 2, LEVELS): for each class, the rows of other classes
    and its own rows, by the probability that they were given for it.
    """

    LEVELS = 100

    def __init__(self, classes: int, device: torch.device) -> None:
        self.classes = torch.arange(classes, device=device)
        self.confusion = torch.zeros(classes, classes, dtype=torch.int64, device=device)
        self.scores = torch.zeros(classes, 2, self.LEVELS, dtype=torch.int64, device=device)

    def add(self, logits: Tensor, targets: Tensor) -> None:
        """`logits` (B, C), `targets` (B,); the dummy row of an empty shard has no target and counts as 0 rows."""
        counts, targets = (targets >= 0).long(), targets.clamp(min=0)
        places = targets * len(self.classes) + logits.argmax(-1)
        self.confusion.view(-1).index_add_(0, places, counts)
        # NaN casts to an arbitrary integer; clamp keeps it in range.
        level = (logits.float().softmax(-1) * self.LEVELS).long().clamp(0, self.LEVELS - 1)
        own = targets[:, None] == self.classes
        places = (self.classes * 2 + own) * self.LEVELS + level
        self.scores.view(-1).index_add_(0, places.flatten(), counts[:, None].expand_as(places).flatten())


def classifier_figures(loss_sum: float, confusion: NDArray[np.int64]) -> dict[str, float]:
    """From the sum of the loss, in nats, and the confusion matrix."""
    total = int(confusion.sum())
    f1 = [row["f1"] for row in per_class(confusion) if row["support"] or row["predicted"]]
    return {
        "loss": loss_sum / total,
        "accuracy": int(confusion.trace()) / total,
        "macro_f1": sum(f1) / len(f1),
    }


def language_model_figures(carried: float, windows: float, num_targets: int, num_characters: int) -> dict[str, float]:
    """From the two sums of the loss, in nats. `bits_per_char`: the bits of all targets, end markers included, divided by
    the characters of the text."""
    loss, bits = carried / num_targets, math.log(2) * max(1, num_characters)
    return {
        "loss": loss,
        "bits_per_char": carried / bits,
        "perplexity": math.exp(min(loss, 700)),
        "window_loss": windows / num_targets,
        "window_bits_per_char": windows / bits,
    }


def per_class(confusion: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Precision, recall and F1 = 2 TP / (2 TP + FP + FN) of each class; 0 where a denominator is 0."""
    hits, support, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    return [
        {
            "precision": int(hit) / max(1, int(guesses)),
            "recall": int(hit) / max(1, int(count)),
            "f1": 2 * int(hit) / max(1, int(count) + int(guesses)),
            "support": int(count),
            "predicted": int(guesses),
        }
        for hit, count, guesses in zip(hits, support, predicted, strict=True)
    ]


def precision_recall(scores: NDArray[np.int64]) -> list[tuple[float, float]]:
    """(recall, precision) of one class with `scores` (2, LEVELS), for each threshold of probability from the highest on.
    Empty for a class without rows."""
    others, own = scores[:, ::-1].cumsum(1)
    taken = own + others > 0
    if not own[-1]:
        return []
    return [(float(o / own[-1]), float(o / (o + n))) for o, n in zip(own[taken], others[taken], strict=True)]
