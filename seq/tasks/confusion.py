"""Counts of predicted classes, and what follows from them: precision, recall and F1 of each class, calibration, and curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

DENSE = 1000
"""Classes up to which a confusion matrix is kept, and shown, as a whole."""
CELLS = 20_000_000
"""Cells of confusion matrices that `macro_f1_error` draws in all."""


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix (C, C), as its cells that are not 0: of ten thousand classes, nearly all are 0."""

    size: int
    true: NDArray[np.int64]
    predicted: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, dense: NDArray[np.int64]) -> "Confusion":
        """From the matrix, true classes by row."""
        true, predicted = dense.nonzero()
        return cls(len(dense), true, predicted, dense[true, predicted])

    @classmethod
    def of_pairs(cls, pairs: NDArray[np.int64], size: int) -> "Confusion":
        """From a number for each prediction: true class * C + predicted class."""
        cells, counts = np.unique(pairs, return_counts=True)
        return cls(size, cells // size, cells % size, counts)

    def dense(self) -> NDArray[np.int64]:
        matrix = np.zeros((self.size, self.size), np.int64)
        matrix[self.true, self.predicted] = self.counts
        return matrix

    @property
    def is_small(self) -> bool:
        """Whether people can read the matrix."""
        return self.size <= DENSE

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    @property
    def right(self) -> int:
        return int(self.counts[self.true == self.predicted].sum())


class ConfusionCounts:
    """Counts of a classifier's predictions. They are integers, so their sum over ranks is exact in any order.

    `confusion` (C, C): rows by true and predicted class; of more than DENSE classes, None, and `pairs` has a tensor of cells for each
    batch. `scores` (C, 2, LEVELS): for each class, the rows of other classes and its own rows, by the probability that they were given
    for it.
    """

    LEVELS, BINS = 100, 10
    """Levels of `scores`, and of calibration."""

    def __init__(self, classes: int, device: torch.device) -> None:
        self.classes, self.pairs = torch.arange(classes, device=device), list[Tensor]()
        small = classes <= DENSE
        self.confusion = torch.zeros(classes, classes, dtype=torch.int64, device=device) if small else None
        self.scores = torch.zeros(classes, 2, self.LEVELS, dtype=torch.int64, device=device)

    def add(self, logits: Tensor, targets: Tensor) -> Tensor:
        """`logits` (B, C), `targets` (B,); the dummy row of an empty shard has no target and counts as 0 rows. Returns what `add_levels`
        does."""
        counts, targets = (targets >= 0).long(), targets.clamp(min=0)
        places = targets * len(self.classes) + logits.argmax(-1)
        if self.confusion is None:
            self.pairs.append(places[counts.bool()])
        else:
            self.confusion.view(-1).index_add_(0, places, counts)
        return self.add_levels(logits.float().softmax(-1), targets[:, None] == self.classes, counts)

    def add_levels(self, probabilities: Tensor, own: Tensor, counts: Tensor) -> Tensor:
        """`probabilities` (B, C); `own` (B, C): whether the row belongs to the class; `counts` (B,): 0 for a dummy row. Returns the sum of
        the probabilities in each bin (BINS,)."""
        # NaN casts to an arbitrary integer; clamp keeps it in range.
        level = (probabilities * self.LEVELS).long().clamp(0, self.LEVELS - 1)
        places = (self.classes * 2 + own) * self.LEVELS + level
        self.scores.view(-1).index_add_(0, places.flatten(), counts[:, None].expand_as(places).flatten())
        sums = torch.zeros(self.BINS, dtype=torch.float64, device=probabilities.device)
        weighted = probabilities.double().nan_to_num() * counts[:, None]
        return sums.index_add_(0, (level * self.BINS // self.LEVELS).flatten(), weighted.flatten())


def per_class(confusion: Confusion) -> list[dict[str, Any]]:
    """Precision, recall and F1 = 2 TP / (2 TP + FP + FN) of each class; 0 where a denominator is 0."""
    return _rows(*_hits_support_predicted(confusion, confusion.counts))


def _hits_support_predicted(confusion: Confusion, counts: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """(C,) each, with `counts` in the cells of the matrix."""
    right = counts * (confusion.true == confusion.predicted)
    found = ((confusion.true, right), (confusion.true, counts), (confusion.predicted, counts))
    return [np.bincount(place, own, confusion.size).astype(np.int64) for place, own in found]


def per_label(scores: NDArray[np.int64]) -> list[dict[str, Any]]:
    """The same from `scores` (C, 2, LEVELS) for rows with any number of labels: a label is predicted if its probability is at least
    1/2."""
    taken = scores[:, :, ConfusionCounts.LEVELS // 2 :].sum(2)
    return _rows(taken[:, 1], scores[:, 1].sum(1), taken.sum(1))


def _rows(hits: NDArray[np.int64], support: NDArray[np.int64], predicted: NDArray[np.int64]) -> list[dict[str, Any]]:
    return [
        {
            "precision": int(hit) / max(1, int(guesses)),
            "recall": int(hit) / max(1, int(count)),
            "f1": 2 * int(hit) / max(1, int(count) + int(guesses)),
            "support": int(count),
            "hits": int(hit),
            "predicted": int(guesses),
        }
        for hit, count, guesses in zip(hits, support, predicted, strict=True)
    ]


def macro_f1(classes: Sequence[dict[str, Any]]) -> float:
    """The mean F1 of the classes that occur or are predicted."""
    f1 = [row["f1"] for row in classes if row["support"] or row["predicted"]]
    return float(sum(f1) / len(f1))


def macro_f1_error(confusion: Confusion) -> float:
    """The spread over tables of the same size that are drawn from the confusion matrix (a parametric bootstrap; Efron, 1979): 5,000 of
    them, whose own error is 1 %, or fewer where there are many classes."""
    counts, random = confusion.counts, np.random.default_rng(0)
    number = int(np.clip(CELLS // len(counts), 500, 5000))
    draws = (random.multinomial(counts.sum(), counts / counts.sum()) for _ in range(number))
    return float(np.std([_macro_f1(confusion, draw) for draw in draws]))


def _macro_f1(confusion: Confusion, counts: NDArray[np.int64]) -> float:
    """The macro F1 of the matrix with `counts` in its cells."""
    hits, support, predicted = _hits_support_predicted(confusion, counts)
    seen = support + predicted > 0
    return float((2 * hits[seen] / (support + predicted)[seen]).mean())


def calibration(scores: NDArray[np.int64], claimed: Sequence[float]) -> list[dict[str, float]]:
    """A reliability diagram over all pairs of a row and a class: for each bin of probability, the mean probability (`claimed`), the share
    of pairs that are true (`true`), and their number (`pairs`). `scores` (C, 2, LEVELS); `claimed` (BINS,) sums of probabilities."""
    counts = scores.sum(0).reshape(2, ConfusionCounts.BINS, -1).sum(2)
    return [
        {"claimed": total / int(others + own), "true": int(own) / int(others + own), "pairs": int(others + own)}
        for total, others, own in zip(claimed, *counts, strict=True)
        if others + own
    ]


def precision_recall(scores: NDArray[np.int64]) -> list[tuple[float, float]]:
    """(recall, precision) of one class with `scores` (2, LEVELS), for each threshold of probability from the highest on.
    Empty for a class without rows."""
    others, own = scores[:, ::-1].cumsum(1)
    taken = own + others > 0
    if not own[-1]:
        return []
    return [(float(o / own[-1]), float(o / (o + n))) for o, n in zip(own[taken], others[taken], strict=True)]
