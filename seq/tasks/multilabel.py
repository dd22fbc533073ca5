"""Multilabel classification: any number of labels for a text."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import logsigmoid

from seq.config import Config, DataConfig
from seq.data.dataset import Batch
from seq.data.examples import Examples
from seq.data.outputs import Coded, Outputs, in_order
from seq.data.ragged import Ints, RaggedArray
from seq.data.split import Split
from seq.data.tokenizer import refuse_list_as_text
from seq.errors import UserError
from seq.models import Model
from seq.tasks.confusion import ConfusionCounts, per_label
from seq.tasks.loaded import LoadedModel, Text, one_or_many
from seq.tasks.losses import binary_cross_entropy
from seq.tasks.metrics import Evaluation, Metric, compute, share_error
from seq.tasks.sequence_task import LARGEST_FIRST, SCRIPT, SequenceTask, label_ids, row_batch, shown_labels
from seq.tasks.task import Answer, Answers, Card, TrainedModel, beside


@dataclass(frozen=True)
class Counts:
    """What the metrics follow from."""

    loss: float
    """The sum."""
    classes: list[dict[str, Any]]
    exact: int
    """Rows of which all labels are right."""
    rows: int

    def total(self, name: str) -> int:
        """The sum over the classes."""
        return sum(row[name] for row in self.classes)


def _micro_f1(found: Counts) -> float:
    return 2 * found.total("hits") / max(1, found.total("support") + found.total("predicted"))


def _macro_f1(found: Counts) -> float:
    """The mean over all classes, with 0 for one that neither occurs nor is predicted, as scikit-learn has it for sets of labels."""
    return float(sum(row["f1"] for row in found.classes) / len(found.classes))


class Multilabel(SequenceTask):
    """Targets are coded as their places in `Outputs.labels`, a sequence for each row. A label is predicted where its probability is at
    least a half."""

    name = "multilabel"
    chosen_by = ("model.kind=classifier", "model.target=labels")
    metrics = (
        Metric("loss", "loss", ".4f", "lower", lambda found: found.loss / found.rows, "nats"),
        Metric("micro_f1", "micro F1", ".4f", "higher", _micro_f1),
        Metric("macro_f1", "macro F1", ".4f", "higher", _macro_f1),
        Metric("exact_match", "all labels right", ".4f", "higher", lambda found: found.exact / found.rows),
    )
    card = Card(
        article="A classifier of any number of labels a text",
        usage='print(model.predict("..."))  # or a list of texts; model.probabilities(...)',
        use="To give labels to short texts of the kind that it was trained on.",
        judges_people=True,
        script=f"{SCRIPT}chances = 1 / (1 + np.exp(-logits))\n{LARGEST_FIRST}",
    )
    smooths_labels = False
    options = frozenset({"top"})

    def read(self, value: Any, config: DataConfig) -> tuple[str, ...]:
        if isinstance(value, str):
            refuse_list_as_text(value, f"labels with {config.label_separator!r} between them")
        parts = value.split(config.label_separator) if isinstance(value, str) else [] if value is None else value
        if not isinstance(parts, list):
            raise ValueError(f"holds {value!r}, not a list of labels")
        if wrong := [part for part in parts if not isinstance(part, str | int)]:
            raise ValueError(f"holds {str(wrong[0])[:60]!r} in a list of labels")
        return tuple(sorted({str(part).strip() for part in parts} - {""}))

    def learn(self, targets: Sequence[tuple[str, ...]], config: DataConfig) -> Outputs:
        labels = {label for row in targets for label in row}
        if not labels:
            raise UserError("train: no row has a label (data.label); model.target=labels needs some")
        return Outputs(labels=in_order(labels))

    def labels(self, target: tuple[str, ...]) -> Sequence[str]:
        return target

    def code(self, split: Examples, outputs: Outputs) -> Coded:
        return label_ids(split, split.targets or (), outputs)

    def batch(
        self, padded: Ints, stored: Ints, times: Sequence[int], chosen: RaggedArray, outputs: Outputs
    ) -> dict[str, Tensor]:
        targets = torch.zeros(len(chosen), outputs.size)
        rows = np.repeat(np.arange(len(chosen)), chosen.lengths)
        targets[rows, torch.from_numpy(chosen.values.astype(np.int64))] = 1.0
        return row_batch(padded, stored, times, targets)

    def show(self, target: list[float], outputs: Outputs) -> str:
        return "; ".join(label for label, there in zip(outputs.labels, target, strict=True) if there)

    def loss(self, logits: Tensor, targets: Tensor, **options: Any) -> Tensor:
        return binary_cross_entropy(logits, targets)

    def evaluator(self, split: Split, config: Config, device: torch.device) -> "LabelsEvaluator":
        return LabelsEvaluator(split.outputs.size, device)

    def values(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    def mean(self, logits: Tensor) -> Tensor:
        """The logits of the mean probabilities."""
        yes, no = (logsigmoid(sign * logits).logsumexp(0) for sign in (1, -1))
        return yes - no

    def best(
        self, trained: TrainedModel, texts: Iterable[str], *, top: int = 0
    ) -> Iterator[tuple[str, list[tuple[str, float]]]]:
        """For each text, the (label, probability) of all labels with a probability of at least 1/2, the likeliest first. If `top` is not
        0, of the `top` likeliest labels instead."""
        for text, chances in self.predictions(trained, texts):
            values, places = chances.sort(descending=True, stable=True)
            number = top or int((values >= 0.5).sum())
            chosen = zip(places.tolist()[:number], values.tolist()[:number], strict=True)
            yield text, [(trained.labels[place], value) for place, value in chosen]

    def answers(self, trained: TrainedModel, options: argparse.Namespace) -> Answers:
        def answer(texts: list[str]) -> Iterator[Answer]:
            for text, best in self.best(trained, texts, top=options.top or 0):
                yield beside(text, shown_labels(best), [[label for label, _ in best], [chance for _, chance in best]])

        return Answers(["prediction", "probability"], answer)

    def load(self, trained: TrainedModel) -> "LoadedMultilabel":
        return LoadedMultilabel(trained, self)


class LabelsEvaluator:
    in_chunks, lists = False, ()

    def __init__(self, classes: int, device: torch.device) -> None:
        self.sums, self._found = 1 + ConfusionCounts.BINS, ConfusionCounts(classes, device)
        self._exact = torch.zeros(2, dtype=torch.int64, device=device)
        self.counts = [self._found.scores, self._exact]

    def add(self, model: Model, batch: Batch) -> Tensor:
        logits = model(**batch.arguments())[0]
        there = batch.targets[:, 0] >= 0
        own, probabilities = batch.targets > 0, logits.float().sigmoid()
        claimed = self._found.add_levels(probabilities, own, there.long())
        right = ((probabilities >= 0.5) == own).all(1) & there
        self._exact += torch.stack([right.sum(), there.sum()])
        return torch.cat([binary_cross_entropy(logits, batch.targets)[None].double(), claimed])

    def result(self, sums: list[float], counts: list[NDArray[np.int64]]) -> Evaluation:
        scores, (exact, rows) = counts
        classes = per_label(scores)
        figures = compute(Multilabel.metrics, Counts(sums[0], classes, int(exact), int(rows)))
        errors = {"exact_match": share_error(figures["exact_match"], int(rows))}
        return Evaluation(figures=figures, errors=errors, scores=scores, claimed=sums[1:], classes=classes)


@dataclass(frozen=True)
class LoadedMultilabel(LoadedModel):
    """A classifier that gives each text any number of labels."""

    task: Multilabel

    @one_or_many
    def predict(self, texts: Sequence[Text]) -> list[list[str]]:
        """For each text the labels that are at least as likely as not, the likeliest first."""
        return [[label for label, _ in found] for _, found in self.task.best(self.trained, self.joined(texts))]

    @one_or_many
    def probabilities(self, texts: Sequence[Text]) -> list[dict[str, float]]:
        """For each text the probability of each label, the likeliest first."""
        return [dict(found) for _, found in self.task.best(self.trained, self.joined(texts), top=len(self.labels))]
