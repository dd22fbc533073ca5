"""Standard errors: how far a figure may be from what it would be on ever more data of the same kind."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

CELLS = 20_000_000
"""Cells of confusion matrices that are drawn in all."""


def share_error(share: float, number: int) -> float:
    """Return the standard error of a share of `number` independent things: sqrt(p (1 - p) / n)."""
    return math.sqrt(share * (1 - share) / number)


def clustered_error(sums: Sequence[int] | NDArray[np.int64], share: float, size: int) -> float:
    """Return the standard error of the `share` of right tokens among `size`. Tokens of one sequence are alike; the sequences are independent
    (Cochran, Sampling Techniques, 1977, on ratio estimates). `sums` over the sequences, with r right ones among n tokens: of
    r^2, r n and n^2."""
    hits_squared, hits_times_size, size_squared = map(int, sums)
    total = hits_squared - 2 * share * hits_times_size + share**2 * size_squared
    return math.sqrt(max(0.0, total)) / size


def macro_f1_error(confusion: NDArray[np.int64]) -> float:
    """The spread over tables of the same size that are drawn from the confusion matrix (a parametric bootstrap; Efron, 1979): 5,000 of
    them, whose own error is 1 %, or fewer where there are many classes."""
    rows, columns = confusion.nonzero()  # a thousand classes have a million cells, most of them empty
    counts, classes = confusion[rows, columns], len(confusion)
    number, random = int(np.clip(CELLS // len(counts), 500, 5000)), np.random.default_rng(0)
    draws = (random.multinomial(counts.sum(), counts / counts.sum()) for _ in range(number))
    return float(np.std([_macro_f1(draw, rows, columns, classes) for draw in draws]))


def _macro_f1(counts: NDArray[np.int64], rows: NDArray[np.int64], columns: NDArray[np.int64], classes: int) -> float:
    """Return the macro F1 of the confusion matrix that has `counts` in the cells (rows, columns)."""
    support, predicted = (np.bincount(place, counts, classes) for place in (rows, columns))
    hits = np.bincount(rows, counts * (rows == columns), classes)
    seen = support + predicted > 0
    return float((2 * hits[seen] / (support + predicted)[seen]).mean())
