"""Every figure of a run: its name, unit and direction, in one table; and the result of an evaluation."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


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
    Metric("micro_f1", "micro F1", ".4f", better="higher"),
    Metric("macro_f1", "macro F1", ".4f", better="higher"),
    *(Metric(f"macro_f1_{part}", f"macro F1, part {part}", ".4f", better="higher") for part in (1, 2, 3)),
    Metric("sequence_error", "wrong outputs", ".2%", better="lower"),
    Metric("token_error", "token error rate", ".2%", better="lower"),
    Metric("plain_sequence_error", "wrong outputs, plain", ".2%", better="lower"),
    Metric("plain_token_error", "token error rate, plain", ".2%", better="lower"),
    Metric("exact_match", "all labels right", ".4f", better="higher"),
    Metric("r2", "R2", ".4f", better="higher"),
    Metric("mae", "mean absolute error", ".4g", better="lower"),
    Metric("mse", "mean squared error", ".4g", better="lower"),
    Metric("bits_per_char", "bits per character", ".4f", better="lower"),
    Metric("window_bits_per_char", "bits per character, in windows", ".4f", better="lower"),
    Metric("perplexity", "perplexity", ".4f", better="lower"),
    Metric("loss", "loss", ".4f", "nats", "lower"),
    Metric("window_loss", "loss, in windows", ".4f", "nats", "lower"),
)
"""Figures of an evaluation, in the order of their importance to people."""

TRAINING = (
    Metric("step_loss", "loss of one step", ".4f"),
    Metric("grad_norm", "gradient norm"),
    Metric("lr", "learning rate"),
    Metric("tokens_per_second", "speed", ",.0f", "tokens / s", "higher"),
    Metric("padding_fraction", "padding", ".2%", better="lower"),
)
"""Figures of training steps, beside their loss."""

METRICS = {metric.name: metric for metric in (*EVALUATION, *TRAINING)}


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
    """The result of an evaluation. `figures` are scalars. Where classes are predicted there are also the `scores` of `Tally` and
    the figures of each class, and where there is one class for each row, a (C, C) confusion matrix, true classes by row."""

    figures: dict[str, float]
    errors: dict[str, float] = field(default_factory=dict)
    """Standard errors of figures, by name; see `seq.training.uncertainty`."""
    confusion: NDArray[np.int64] | None = None
    scores: NDArray[np.int64] | None = None
    claimed: list[float] | None = None
    """The sums of probabilities in each of `Tally`'s bins."""
    classes: list[dict[str, Any]] | None = None
    parts: list[dict[str, Any]] | None = None
    """The same of the parts of tags, each with its `part` (from 1) and `label`."""
