"""How far a figure may be from what it is on ever more data: its standard error, where the counts tell it."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 200
SHARES = ("accuracy", "exact_match", "sequence_error", "plain_sequence_error")
"""Figures that are a share of rows."""


def standard_errors(result: dict[str, Any]) -> dict[str, float]:
    """Of the figures of a result, by name: of a share p of n rows, sqrt(p (1 - p) / n); of macro F1, the spread over tables of the
    same size that are drawn from the confusion matrix (a parametric bootstrap; Efron, 1979)."""
    figures, confusion = result.get("eval", {}), result.get("confusion")
    rows = int(np.sum(confusion)) if confusion else result.get("data", {}).get(result.get("split"), {}).get("rows", 0)
    names = [name for name in SHARES if name in figures and (name != "accuracy" or confusion)]
    found = {name: math.sqrt(figures[name] * (1 - figures[name]) / rows) for name in names if rows}
    return found | ({"macro_f1": _of_macro_f1(np.array(confusion))} if confusion and rows else {})


def _of_macro_f1(confusion: NDArray[np.int64]) -> float:
    rows, columns = confusion.nonzero()  # a thousand classes have a million cells, most of them empty
    counts, classes = confusion[rows, columns], len(confusion)
    draws = np.random.default_rng(0).multinomial(counts.sum(), counts / counts.sum(), RESAMPLES)
    return float(np.std([_macro_f1(draw, rows, columns, classes) for draw in draws]))


def _macro_f1(counts: NDArray[np.int64], rows: NDArray[np.int64], columns: NDArray[np.int64], classes: int) -> float:
    """Of the confusion matrix that has `counts` in the cells (rows, columns)."""
    support, predicted = (np.bincount(place, counts, classes) for place in (rows, columns))
    hits = np.bincount(rows, counts * (rows == columns), classes)
    seen = support + predicted > 0
    return float((2 * hits[seen] / (support + predicted)[seen]).mean())
