"""The figures of each task, from sums and counts that are the same at every world size.

A task's scores are one class here, with the same methods as the others; `SCORES` has them by task. Sums of floats have a place
for each shard; counts are integers, so their sum over ranks is exact in any order.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from launch.device import to_device
from seq.config import MAX_NGRAM, Config, Task
from seq.data.dataset import Batch
from seq.data.outputs import IGNORE_INDEX
from seq.data.split import Split
from seq.models import Model
from seq.training.metrics import (
    ConfusionCounts,
    Evaluation,
    classes_of_parts,
    classes_of_sets,
    classification_metrics,
    language_model_metrics,
    multilabel_metrics,
    part_metrics,
    per_class,
    regression_metrics,
)
from seq.training.objective import LOSSES, cross_entropy
from seq.training.pairs import PairScores
from seq.training.uncertainty import clustered_error, share_error

CHUNK = 256
"""Time steps that a language model reads at once, so that the logits of a long text need not all be in memory."""
TOKENS = 32768
"""Time steps of all rows that are read at once. Without gradients there is room for more than in training."""


class Scores(Protocol):
    """The scores of one task, of one evaluation."""

    sums: int
    """Sums of floats that a shard has."""
    counts: list[Tensor]
    """Integers, added up over all shards."""
    in_chunks: bool
    """Whether rows of any length need the memory of a piece of them only."""

    def __init__(self, split: Split, config: Config, device: torch.device) -> None: ...

    def add(self, model: Model, batch: Batch) -> Tensor:
        """Counts a shard, and returns its sums (`sums`,) in float64."""
        ...

    def evaluation(self, sums: list[float], counts: list[NDArray[np.int64]]) -> Evaluation:
        """Compute the figures of the whole split."""
        ...


class LabelScores:
    in_chunks = False

    def __init__(self, split: Split, config: Config, device: torch.device) -> None:
        self.sums, self._tally = 1 + ConfusionCounts.BINS, ConfusionCounts(split.outputs.size, device)
        self.counts = [self._tally.confusion, self._tally.scores]

    def add(self, model: Model, batch: Batch) -> Tensor:
        return self._add(model(**batch.arguments())[0], batch.targets)

    def _add(self, logits: Tensor, targets: Tensor) -> Tensor:
        return torch.cat([cross_entropy(logits, targets)[None].double(), self._tally.add(logits, targets)])

    def evaluation(self, sums: list[float], counts: list[NDArray[np.int64]]) -> Evaluation:
        confusion, scores = counts[:2]
        figures = classification_metrics(sums[0], confusion)
        return Evaluation(
            figures=figures,
            errors={"accuracy": share_error(figures["accuracy"], int(confusion.sum()))},
            confusion=confusion,
            scores=scores,
            claimed=sums[1:],
            classes=per_class(confusion),
        )


class LabelSetScores:
    """A label is predicted where its probability is at least a half."""

    in_chunks = False

    def __init__(self, split: Split, config: Config, device: torch.device) -> None:
        self.sums, self._tally = 1 + ConfusionCounts.BINS, ConfusionCounts(split.outputs.size, device)
        self._exact = torch.zeros(2, dtype=torch.int64, device=device)
        self.counts = [self._tally.scores, self._exact]

    def add(self, model: Model, batch: Batch) -> Tensor:
        logits = model(**batch.arguments())[0]
        there = batch.targets[:, 0] >= 0
        own, probabilities = batch.targets > 0, logits.float().sigmoid()
        claimed = self._tally.add_levels(probabilities, own, there.long())
        right = ((probabilities >= 0.5) == own).all(1) & there
        self._exact += torch.stack([right.sum(), there.sum()])
        return torch.cat([LOSSES["multilabel"](logits, batch.targets)[None].double(), claimed])

    def evaluation(self, sums: list[float], counts: list[NDArray[np.int64]]) -> Evaluation:
        scores, (exact, rows) = counts
        classes = classes_of_sets(scores)
        figures = multilabel_metrics(sums[0], classes, exact, rows)
        errors = {"exact_match": share_error(figures["exact_match"], int(rows))}
        return Evaluation(figures=figures, errors=errors, scores=scores, claimed=sums[1:], classes=classes)


class NumberScores:
    in_chunks = False

    def __init__(self, split: Split, config: Config, device: torch.device) -> None:
        self.sums, self.counts, self._outputs = 5, list[Tensor](), split.outputs

    def add(self, model: Model, batch: Batch) -> Tensor:
        logits = model(**batch.arguments())[0]
        there = ~batch.targets.isnan()
        truth = batch.targets.double().where(there, 0)
        error = (logits[:, 0].double() - truth).where(there, 0)  # NaN where the model says NaN
        parts = (there, error**2, error.abs(), truth, truth**2)
        return torch.stack([(part * there).sum().double() for part in parts])

    def evaluation(self, sums: list[float], counts: list[NDArray[np.int64]]) -> Evaluation:
        return Evaluation(figures=regression_metrics(*sums, scale=self._outputs.scale))


class TagScores(LabelScores):
    """Every token is a row. Tags may have parts, such as `A|,`: then there are figures of each part, too."""

    def __init__(self, split: Split, config: Config, device: torch.device) -> None:
        super().__init__(split, config, device)
        self._labels = split.outputs.labels
        self._sequences = torch.zeros(3, dtype=torch.int64, device=device)
        """Over the sequences, with r right ones among n tags: the sums of r^2, r n and n^2."""
        self.counts.append(self._sequences)

    def add(self, model: Model, batch: Batch) -> Tensor:
        logits, there = model(**batch.arguments())[0], batch.targets >= 0
        right, size = ((logits.argmax(-1) == batch.targets) & there).sum(1), there.sum(1)
        self._sequences += torch.stack([(right * right).sum(), (right * size).sum(), (size * size).sum()])
        return self._add(logits.flatten(0, 1), batch.targets.flatten())

    def evaluation(self, sums: list[float], counts: list[NDArray[np.int64]]) -> Evaluation:
        whole = super().evaluation(sums, counts)
        parts = classes_of_parts(self._labels, counts[0])
        error = clustered_error(counts[2], whole.figures["accuracy"], int(counts[0].sum()))
        return replace(whole, figures=whole.figures | part_metrics(parts), errors={"accuracy": error}, parts=parts)


class TextScores:
    """A language model predicts each token once, with the state of training: each sequence is read from a fresh state to its end.
    The sequences are whole documents where training carries the state through them, else lines, paragraphs or windows as in
    training. Whole documents are also read in windows of `evaluation.window` tokens, each from a fresh state."""

    in_chunks = True

    def __init__(self, split: Split, config: Config, device: torch.device) -> None:
        whole = config.task == "conditional_language_modeling" or config.data.reads_whole_documents
        self._window = config.evaluation.window if whole else None
        self.sums, self.counts = 1 if self._window is None else 2, list[Tensor]()
        self._split, self._targets = split, int(split.lengths.sum())

    def add(self, model: Model, batch: Batch) -> Tensor:
        readings = [carried(model, batch)]
        if self._window is not None:
            readings.append(in_windows(model, batch, self._window))
        sums = torch.zeros(self.sums, dtype=torch.float64, device=batch.inputs.device)
        for number, reading in enumerate(readings):
            for logits, targets in reading:
                sums[number] += cross_entropy(logits, targets)
        return sums

    def evaluation(self, sums: list[float], counts: list[NDArray[np.int64]]) -> Evaluation:
        about = (self._targets, self._split.num_characters, self._split.unknown_bits)
        windows = [language_model_metrics(part, *about) for part in sums[1:]]
        figures = {f"window_{name}": part[name] for part in windows for name in ("loss", "bits_per_char")}
        return Evaluation(figures=language_model_metrics(sums[0], *about) | figures)


SCORES: dict[Task, type[Scores]] = {
    "classification": LabelScores,
    "multilabel": LabelSetScores,
    "regression": NumberScores,
    "language_modeling": TextScores,
    "conditional_language_modeling": TextScores,
    "tagging": TagScores,
    "seq2seq": PairScores,
}


def carried(model: Model, batch: Batch) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits and targets of each row from beginning to end, with the state carried along."""
    hidden: Tensor | None = None
    padded = torch.nn.functional.pad(batch.inputs, (MAX_NGRAM, 0))
    for start in range(0, batch.inputs.shape[1], CHUNK):
        lengths = (batch.lengths - start).clamp(max=CHUNK)
        now = slice(start, start + int(lengths.max()))
        running = to_device((lengths > 0).nonzero()[:, 0], batch.inputs.device)
        before: dict[str, Any] = (
            {"labels": batch.labels} if hidden is None else {"hidden": hidden.index_select(1, running)}
        )
        before["preceding"] = padded[:, start : start + MAX_NGRAM].index_select(0, running)
        logits, last = model(batch.inputs[:, now].index_select(0, running), lengths[lengths > 0], **before)
        hidden = last.new_zeros(len(last), len(lengths), last.shape[2]) if hidden is None else hidden
        hidden.index_copy_(1, running, last)
        yield logits, batch.targets[:, now].index_select(0, running)


def in_windows(model: Model, batch: Batch, window: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits and targets of the rows in windows, each from a fresh state; as many windows at once as there is room for."""
    window = min(window, batch.inputs.shape[1])
    count = -(-batch.inputs.shape[1] // window)
    missing = count * window - batch.inputs.shape[1]
    inputs, targets = (
        torch.nn.functional.pad(tensor, (0, missing), value=padding).view(-1, window)
        for tensor, padding in ((batch.inputs, 0), (batch.targets, IGNORE_INDEX))
    )
    lengths = (batch.lengths[:, None] - window * torch.arange(count)).clamp(0, window).flatten()
    for rows in (lengths > 0).nonzero()[:, 0].split(max(1, TOKENS // window)):  # type: ignore[no-untyped-call]
        places = to_device(rows, inputs.device)
        labels = None if batch.labels is None else batch.labels.index_select(0, places // count)
        yield model(inputs.index_select(0, places), lengths[rows], labels=labels)[0], targets.index_select(0, places)
