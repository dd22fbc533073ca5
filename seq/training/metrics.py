"""Figures from sums: each is divided once."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What an evaluation found. `figures` are scalars; a classifier also has a (C, C) confusion matrix, true classes
    by row, and the `scores` of `seq.training.tally`."""

    figures: dict[str, float]
    confusion: NDArray[np.int64] | None = None
    scores: NDArray[np.int64] | None = None


def classifier_figures(loss_sum: float, confusion: NDArray[np.int64]) -> dict[str, float]:
    total = int(confusion.sum())
    f1 = [row["f1"] for row in per_class(confusion) if row["support"] or row["predicted"]]
    return {
        "loss": loss_sum / total,
        "accuracy": int(confusion.trace()) / total,
        "macro_f1": sum(f1) / len(f1),
    }


def language_model_figures(carried: float, windows: float, num_targets: int, num_characters: int) -> dict[str, float]:
    """From the two sums of the loss, in nats. `bits_per_char`: all bits, those of the end markers too, over the
    characters of the text."""
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
    """Recall and precision of one class, `scores` (2, LEVELS), if all rows of at least some probability are taken to be
    of it: for each such threshold, from the highest. Empty for a class without rows."""
    others, own = scores[:, ::-1].cumsum(1)
    taken = own + others > 0
    if not own[-1]:
        return []
    return [(float(o / own[-1]), float(o / (o + n))) for o, n in zip(own[taken], others[taken], strict=True)]
