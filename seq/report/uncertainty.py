"""How far a figure may be from what it is on ever more data: its standard error, where the counts tell it."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seq.training.figures import per_class

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
    total = int(confusion.sum())
    draws = np.random.default_rng(0).multinomial(total, confusion.flatten() / total, RESAMPLES)
    return float(np.std([_macro_f1(draw.reshape(confusion.shape)) for draw in draws]))


def _macro_f1(confusion: NDArray[np.int64]) -> float:
    return float(np.mean([row["f1"] for row in per_class(confusion) if row["support"] or row["predicted"]]))
