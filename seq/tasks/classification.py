"""Classification: one label for a text."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seq.config import Config
from seq.data.corpus import Corpus
from seq.data.dataset import Batch
from seq.data.examples import Examples
from seq.data.outputs import Coded, Outputs
from seq.data.ragged import Ints
from seq.data.split import Split
from seq.models import Model
from seq.models.ensemble import mean_of_probabilities
from seq.tasks.confusion import Confusion, ConfusionCounts, macro_f1, macro_f1_error, per_class
from seq.tasks.loaded import LoadedModel, Text, one_or_many
from seq.tasks.losses import cross_entropy
from seq.tasks.metrics import Evaluation, Metric, compute, share_error
from seq.tasks.mistakes import confused_examples
from seq.tasks.sequence_task import (
    LARGEST_FIRST,
    SCRIPT,
    OneLabel,
    SequenceTask,
    one_label_each,
    row_batch,
    shown_labels,
)
from seq.tasks.task import Answer, Answers, Card, TrainedModel, beside


@dataclass(frozen=True)
class Counts:
    """What the metrics follow from."""

    loss: float
    """The sum."""
    confusion: Confusion


class Classification(OneLabel, SequenceTask):
    """Targets are coded (N,) by their places in `Outputs.labels`."""

    name = "classification"
    chosen_by = ("model.kind=classifier", "model.target=label")
    metrics = (
        Metric("loss", "loss", ".4f", "lower", lambda found: found.loss / found.confusion.total, "nats"),
        Metric(
            "accuracy",
            "accuracy",
            ".4f",
            "higher",
            lambda found: found.confusion.right / found.confusion.total,
        ),
        Metric("macro_f1", "macro F1", ".4f", "higher", lambda found: macro_f1(per_class(found.confusion))),
    )
    card = Card(
        article="A classifier",
        usage='print(model.predict("..."))  # or a list of texts; model.probabilities(...)',
        use="To label short texts of the kind that it was trained on.",
        judges_people=True,
        script=f"{SCRIPT}chances = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()\n{LARGEST_FIRST}",
    )
    weighs_classes = True
    options = frozenset({"top"})

    def code(self, split: Examples, outputs: Outputs) -> Coded:
        return one_label_each(split, outputs)

    def batch(
        self, padded: Ints, stored: Ints, times: Sequence[int], chosen: Ints, outputs: Outputs
    ) -> dict[str, Tensor]:
        return row_batch(padded, stored, times, torch.from_numpy(chosen.astype(np.int64)))

    def show(self, target: int, outputs: Outputs) -> str:
        return outputs.labels[target]

    def loss(self, logits: Tensor, targets: Tensor, **options: Any) -> Tensor:
        return cross_entropy(logits, targets, **options)

    def evaluator(self, split: Split, config: Config, device: torch.device) -> "ClassEvaluator":
        return ClassEvaluator(self.metrics, split.outputs.size, device)

    def standard_errors(self, evaluation: Evaluation) -> dict[str, float]:
        assert evaluation.confusion is not None
        return evaluation.errors | {"macro_f1": macro_f1_error(evaluation.confusion)}

    def mistakes(
        self, model: Model, corpus: Corpus, split: str, evaluation: Evaluation, device: torch.device
    ) -> list[dict[str, Any]]:
        assert evaluation.confusion is not None
        return confused_examples(model, corpus, split, evaluation.confusion, device)

    def values(self, logits: Tensor) -> Tensor:
        return logits.softmax(-1)

    def mean(self, logits: Tensor) -> Tensor:
        return mean_of_probabilities(logits)

    def best(
        self, trained: TrainedModel, texts: Iterable[str], *, top: int
    ) -> Iterator[tuple[str, list[tuple[str, float]]]]:
        """For each text the `top` likeliest (label, probability)."""
        number = min(max(1, top), len(trained.labels))
        for text, chances in self.predictions(trained, texts):
            found = chances.topk(number)
            pairs = zip(found.indices.tolist(), found.values.tolist(), strict=True)
            yield text, [(trained.labels[place], value) for place, value in pairs]

    def answers(self, trained: TrainedModel, options: argparse.Namespace) -> Answers:
        top = min(options.top or (1 if options.csv or options.json else 3), len(trained.labels))
        fields = [f"{name}{place}" for place in ("", *range(2, top + 1)) for name in ("prediction", "probability")]

        def answer(texts: list[str]) -> Iterator[Answer]:
            for text, best in self.best(trained, texts, top=top):
                yield beside(text, shown_labels(best), [cell for pair in best for cell in pair])

        return Answers(fields, answer)

    def load(self, trained: TrainedModel) -> "LoadedClassifier":
        return LoadedClassifier(trained, self)


class ClassEvaluator:
    in_chunks = False

    def __init__(self, metrics: Iterable[Metric], classes: int, device: torch.device) -> None:
        self.metrics, self.sums = metrics, 1 + ConfusionCounts.BINS
        self._found = ConfusionCounts(classes, device)
        self.counts, self.lists = [self._found.scores], list[list[Tensor]]()
        if self._found.confusion is None:
            self.lists = [self._found.pairs]
        else:
            self.counts.append(self._found.confusion)

    def add(self, model: Model, batch: Batch) -> Tensor:
        return self.add_logits(model(**batch.arguments())[0], batch.targets)

    def add_logits(self, logits: Tensor, targets: Tensor) -> Tensor:
        return torch.cat([cross_entropy(logits, targets)[None].double(), self._found.add(logits, targets)])

    def result(self, sums: list[float], counts: list[NDArray[np.int64]]) -> Evaluation:
        scores, matrix = counts[0], counts[-1]  # of many classes, the last one are the pairs
        confusion = Confusion.of(matrix) if matrix.ndim == 2 else Confusion.of_pairs(matrix, len(scores))
        figures = compute(self.metrics, Counts(sums[0], confusion))
        return Evaluation(
            figures=figures,
            errors={"accuracy": share_error(figures["accuracy"], confusion.total)},
            confusion=confusion,
            scores=scores,
            claimed=sums[1:],
            classes=per_class(confusion),
        )


@dataclass(frozen=True)
class LoadedClassifier(LoadedModel):
    """A model that gives each text a label."""

    task: Classification

    @one_or_many
    def predict(self, texts: Sequence[Text]) -> list[str]:
        """The likeliest label of each text. With several text columns, a text is a sequence of their texts."""
        return [best[0][0] for _, best in self.task.best(self.trained, self.joined(texts), top=1)]

    @one_or_many
    def probabilities(self, texts: Sequence[Text]) -> list[dict[str, float]]:
        """For each text, as in `predict`, the probability of each label, the likeliest first."""
        return [dict(best) for _, best in self.task.best(self.trained, self.joined(texts), top=len(self.labels))]
