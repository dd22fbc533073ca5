"""Metrics: the name, unit and direction of each in one table, the result of an evaluation, and how metrics follow from sums and counts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
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
    """The result of an evaluation. `figures` are scalars. Where classes are predicted there are also the `scores` of `ConfusionCounts` and
    the figures of each class, and where there is one class for each row, a (C, C) confusion matrix, true classes by row."""

    figures: dict[str, float]
    errors: dict[str, float] = field(default_factory=dict)
    """Standard errors of figures, by name; see `seq.training.uncertainty`."""
    confusion: NDArray[np.int64] | None = None
    scores: NDArray[np.int64] | None = None
    claimed: list[float] | None = None
    """The sums of probabilities in each of `ConfusionCounts`'s bins."""
    classes: list[dict[str, Any]] | None = None
    parts: list[dict[str, Any]] | None = None
    """The same of the parts of tags, each with its `part` (from 1) and `label`."""


class ConfusionCounts:
    """Counts of a classifier's predictions. They are integers, so their sum over ranks is exact in any order.

    `confusion` (C, C): rows by true and predicted class. `scores` (C, 2, LEVELS): for each class, the rows of other classes
    and its own rows, by the probability that they were given for it.
    """

    LEVELS, BINS = 100, 10
    """Levels of `scores`, and of calibration."""

    def __init__(self, classes: int, device: torch.device) -> None:
        self.classes = torch.arange(classes, device=device)
        self.confusion = torch.zeros(classes, classes, dtype=torch.int64, device=device)
        self.scores = torch.zeros(classes, 2, self.LEVELS, dtype=torch.int64, device=device)

    def add(self, logits: Tensor, targets: Tensor) -> Tensor:
        """`logits` (B, C), `targets` (B,); the dummy row of an empty shard has no target and counts as 0 rows. Returns what `add_levels`
        does."""
        counts, targets = (targets >= 0).long(), targets.clamp(min=0)
        places = targets * len(self.classes) + logits.argmax(-1)
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


def classification_metrics(loss_sum: float, confusion: NDArray[np.int64]) -> dict[str, float]:
    """From the sum of the loss, in nats, and the confusion matrix."""
    total = int(confusion.sum())
    f1 = [row["f1"] for row in per_class(confusion) if row["support"] or row["predicted"]]
    return {
        "loss": loss_sum / total,
        "accuracy": int(confusion.trace()) / total,
        "macro_f1": sum(f1) / len(f1),
    }


PART = "|"
"""Between the parts of a tag; all tags of a set must have as many."""


def classes_of_parts(labels: tuple[str, ...], confusion: NDArray[np.int64]) -> list[dict[str, Any]]:
    """As `per_class`, for the parts of tags such as `A|,`: all tags that agree in a part are one class. Empty if tags have no
    parts, or not all as many."""
    parts = [label.split(PART) for label in labels]
    if len({len(own) for own in parts}) != 1 or len(parts[0]) == 1:
        return []
    rows = []
    for number, values in enumerate(zip(*parts, strict=True), 1):
        names = sorted(set(values))
        member = np.array([[value == name for name in names] for value in values], np.int64)
        merged = per_class(member.T @ confusion @ member)
        rows += [{"part": number, "label": name} | row for name, row in zip(names, merged, strict=True)]
    return rows


def part_metrics(parts: list[dict[str, Any]]) -> dict[str, float]:
    """Macro F1 of each of the first three parts."""
    figures = {}
    for number in sorted({row["part"] for row in parts})[:3]:
        f1 = [row["f1"] for row in parts if row["part"] == number and (row["support"] or row["predicted"])]
        figures[f"macro_f1_{number}"] = sum(f1) / len(f1)
    return figures


def multilabel_metrics(loss_sum: float, classes: list[dict[str, Any]], exact: int, rows: int) -> dict[str, float]:
    """From the sum of the loss, the figures of each class, and the rows of which all labels are right. Macro F1 is the mean over all
    classes, with 0 for one that neither occurs nor is predicted, as scikit-learn has it for sets of labels."""
    hits, support, predicted = (sum(row[name] for row in classes) for name in ("hits", "support", "predicted"))
    return {
        "loss": loss_sum / int(rows),
        "micro_f1": 2 * hits / max(1, support + predicted),
        "macro_f1": sum(row["f1"] for row in classes) / len(classes),
        "exact_match": int(exact) / int(rows),
    }


def regression_metrics(
    rows: float, squares: float, distances: float, truth: float, truth_squares: float, *, scale: float
) -> dict[str, float]:
    """From sums over the rows: 1, (prediction - truth)^2, |prediction - truth|, truth, truth^2, all but the first in standard
    deviations of `scale`. R2 = 1 - (squared errors) / (squared distances of the truth from its mean); 0 if all are equal."""
    spread = truth_squares - truth**2 / rows
    return {
        "loss": squares / rows,
        "mse": squares / rows * scale**2,
        "mae": distances / rows * scale,
        "r2": 1 - squares / spread if spread > 1e-12 * truth_squares else 0.0,
    }


def seq2seq_metrics(
    loss_sum: float, tokens: NDArray[np.int64], errors: NDArray[np.int64], plain: NDArray[np.int64] | None
) -> dict[str, float]:
    """From the sum of the loss, the tokens (right, all) after true ones, and the errors of whole outputs as
    `seq.training.pairs.References.errors` counts them; `plain`: without ignored characters, None if there are none."""
    right, total = (int(count) for count in tokens)
    figures = {"loss": loss_sum / total, "accuracy": right / total}
    for prefix, counts in (("", errors), ("plain_", plain)):
        if counts is not None:
            sources, wrong, distance, size = (int(count) for count in counts)
            figures |= {f"{prefix}sequence_error": wrong / sources, f"{prefix}token_error": distance / max(1, size)}
    return figures


def language_model_metrics(
    loss_sum: float, num_targets: int, num_characters: int, unknown_bits: float
) -> dict[str, float]:
    """From the sum of the loss, in nats. `bits_per_char`: the bits of all targets, end markers included, and those that say which
    characters the unknown ones are, divided by the characters of the text."""
    loss = loss_sum / num_targets
    bits = loss_sum / math.log(2) + unknown_bits
    return {
        "loss": loss,
        "bits_per_char": bits / max(1, num_characters),
        "perplexity": math.exp(min(loss, 700)),
    }


def per_class(confusion: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Precision, recall and F1 = 2 TP / (2 TP + FP + FN) of each class; 0 where a denominator is 0."""
    return _rows(confusion.diagonal(), confusion.sum(1), confusion.sum(0))


def classes_of_sets(scores: NDArray[np.int64]) -> list[dict[str, Any]]:
    """The same from `scores` (C, 2, LEVELS) of rows with any number of labels: one is predicted at a probability of 1/2."""
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
