"""Metrics: the name, unit and direction of each, how it follows from the counts of an evaluation, and how far it may be off."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seq.data.outputs import are_numbers
from seq.tasks.confusion import Confusion


@dataclass(frozen=True)
class Metric:
    name: str
    """In metrics.jsonl, result.json, W&B and TensorBoard."""
    title: str
    """The name that is shown on a chart or above a figure."""
    spec: str = ".4g"
    """Python's format of its values."""
    better: Literal["lower", "higher"] | None = None
    """None: neither."""
    value: Callable[[Any], float | None] | None = None
    """From the counts of an evaluation, whose type depends on the task; None if these data do not have the metric. Metrics of
    training steps have no such function."""
    unit: str = ""

    @property
    def label(self) -> str:
        """Title and unit."""
        return f"{self.title}, {self.unit}" if self.unit else self.title


TRAINING = (
    Metric("step_loss", "loss of one step", ".4f"),
    Metric("grad_norm", "gradient norm"),
    Metric("lr", "learning rate"),
    Metric("tokens_per_second", "speed", ",.0f", "higher", unit="tokens / s"),
    Metric("padding_fraction", "padding", ".2%", "lower"),
)
"""Metrics of training steps, beside their loss."""


def compute(metrics: Iterable[Metric], counts: Any) -> dict[str, float]:
    """The values of the metrics that these counts have."""
    values = {metric.name: metric.value(counts) for metric in metrics if metric.value is not None}
    return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The result of an evaluation. Where classes are predicted there are also the `scores` of `ConfusionCounts` and the figures of each
    class, and where there is one class for each row, a confusion matrix."""

    figures: dict[str, float]
    """The values of the metrics, by name."""
    errors: dict[str, float] = field(default_factory=dict)
    """Standard errors of metrics, by name."""
    confusion: Confusion | None = None
    scores: NDArray[np.int64] | None = None
    claimed: list[float] | None = None
    """The sums of probabilities in each of `ConfusionCounts`'s bins."""
    classes: list[dict[str, Any]] | None = None
    parts: list[dict[str, Any]] | None = None
    """The figures of each class of each part of the tags, each with its `part` (from 1) and `label`."""


def share_error(share: float, number: int) -> float:
    """Return the standard error of a share of `number` independent things: sqrt(p (1 - p) / n)."""
    return math.sqrt(share * (1 - share) / number)


def clustered_error(sums: Sequence[int] | NDArray[np.int64], share: float, size: int) -> float:
    """Return the standard error of the `share` of right tokens among `size`. Tokens of one sequence are correlated; the sequences are
    independent
    (Cochran, Sampling Techniques, 1977, on ratio estimates). `sums`: the sums of r^2, r n and n^2 over the sequences, with r right ones
    among n tokens."""
    hits_squared, hits_times_size, size_squared = map(int, sums)
    total = hits_squared - 2 * share * hits_times_size + share**2 * size_squared
    return math.sqrt(max(0.0, total)) / size


def table_order(labels: Sequence[str], counts: Sequence[int], most: int) -> list[int]:
    """The places of the classes in a table of at most `most` rows: by label if all are numbers and there is room, else the largest
    first."""
    if len(labels) <= most and are_numbers(labels):
        return list(range(len(labels)))
    return sorted(range(len(labels)), key=lambda place: -counts[place])
