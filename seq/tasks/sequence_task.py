"""What classification, multilabel and regression share: one target for a whole sequence, and a text that is read at once."""

import datetime
import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seq.config import DataConfig
from seq.data.cut import encode_texts, frame, limit_length
from seq.data.examples import Examples
from seq.data.outputs import Coded, Outputs, Vocabulary, in_order
from seq.data.plan import ShardSizes
from seq.data.ragged import Ints, RaggedArray, at_least, slices
from seq.data.targets import Encoded
from seq.errors import UserError, warn
from seq.tasks.task import PredictiveTask, TrainedModel

ROWS = 256
"""Texts that go through the model together."""
SCRIPT = """\
inputs = np.array([[1, *ids, 2]])
logits = session.run(["logits"], {"inputs": inputs, "lengths": np.array([inputs.shape[1]])})[0][0]
"""
LARGEST_FIRST = """\
for place in (-chances).argsort()[:3]:
    print(about["outputs"]["labels"][place], round(float(chances[place]), 3))
"""
"""Parts of the cards' scripts."""


class SequenceTask(PredictiveTask):
    @abstractmethod
    def code(self, split: Examples, outputs: Outputs) -> Coded:
        """A number for each row, or several."""

    @abstractmethod
    def values(self, logits: Tensor) -> Tensor:
        """(B, C) logits to probabilities, or (B, 1) to numbers in standard deviations."""

    @abstractmethod
    def mean(self, logits: Tensor) -> Tensor:
        """The logits (N, B, C) of N models to those of their mean prediction (B, C)."""

    def encode_rows(self, split: Examples, vocabulary: Vocabulary, config: DataConfig, notes: list[str]) -> Encoded:
        tokens = encode_texts(split.texts, vocabulary.tokenizer)
        tokens, kept = limit_length(tokens, split.name, split.where, config, notes, markers=0)
        return frame(tokens), self.code(split.take(kept), vocabulary.outputs)

    def time_steps(self, sequences: RaggedArray, coded: Coded) -> Ints:
        return sequences.lengths

    def count(self, sizes: ShardSizes) -> int:
        return int(sizes.rows.sum())

    def predictions(
        self, trained: TrainedModel, texts: Iterable[str], rows: int = ROWS
    ) -> Iterator[tuple[str, Tensor]]:
        """Each text with its probabilities or number (C,), on the CPU. Texts are read `rows` at a time, so any number of them needs the
        memory of one such batch. A text longer than `data.max_length` is cut, with a warning."""
        remaining = iter(texts)
        while batch := list(islice(remaining, rows)):
            yield from zip(batch, self._predict(trained, batch), strict=True)

    @torch.inference_mode()
    def _predict(self, trained: TrainedModel, texts: list[str]) -> Tensor:
        limit, encoded = trained.config.data.max_length, trained.encode(texts)
        if long := int((encoded.lengths > limit).sum()):
            warn(f"{long} text(s) cut to data.max_length={limit} tokens")
        starts = encoded.offsets[:-1]
        sequences = frame(slices(encoded.values, starts, np.minimum(starts + limit, encoded.offsets[1:])))
        inputs, lengths = (torch.from_numpy(array) for array in sequences.pad(np.arange(len(texts))))
        found = self.values(trained.model(inputs.to(trained.device), lengths)[0].cpu())
        return found * trained.outputs.scale + trained.outputs.mean


class OneLabel:
    """How the targets of a task are read and learned where each text has one label."""

    def read(self, value: Any, config: DataConfig) -> str:
        return read_label(value)

    def labels(self, target: str) -> Sequence[str]:
        return (target,)

    def learn(self, targets: Sequence[str], config: DataConfig) -> Outputs:
        return Outputs(labels=in_order(targets))


def row_batch(padded: Ints, stored: Ints, times: Sequence[int], targets: Tensor) -> dict[str, Tensor]:
    """A batch of rows with their `targets`."""
    return {
        "inputs": torch.from_numpy(at_least(padded, times[0])),
        "lengths": torch.from_numpy(stored),
        "targets": targets,
    }


def label_ids(split: Examples, targets: Sequence[Sequence[str]], outputs: Outputs) -> RaggedArray:
    """The places of each row's labels in `Outputs.labels`. UserError for one that is not there."""
    ids = {label: place for place, label in enumerate(outputs.labels)}
    offsets = np.concatenate(([0], np.cumsum([len(own) for own in targets], dtype=np.int64)))
    values = np.fromiter((ids.get(label, -1) for own in targets for label in own), np.int32, int(offsets[-1]))
    if (unknown := np.flatnonzero(values < 0)).size:
        row = int(np.searchsorted(offsets, unknown[0], side="right")) - 1
        label, known = targets[row][unknown[0] - offsets[row]], ", ".join(outputs.labels[:8])
        raise UserError(
            f"{split.where(row)}: label {label!r} does not occur in the training data "
            f"({len(outputs.labels)} labels: {known}{', ...' * (len(outputs.labels) > 8)}); correct it, or give that label rows to train on"
        )
    return RaggedArray(values, offsets)


def one_label_each(split: Examples, outputs: Outputs) -> Ints:
    """(N,) the place of each row's label."""
    ids, targets = {label: place for place, label in enumerate(outputs.labels)}, split.targets or ()
    coded = np.fromiter((ids.get(label, -1) for label in targets), np.int32, len(targets))
    if (coded < 0).any():
        label_ids(split, [[label] for label in targets], outputs)  # names the first one
    return coded


def read_label(value: Any) -> str:
    """A column's value as a label: text, or a number or date of a file that has types. ValueError for anything else."""
    if value is None or (isinstance(value, str) and not value.strip()):
        raise ValueError("is empty")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"holds {value!r}, which is no label")
    if not isinstance(value, str | int | float | datetime.date):
        raise ValueError(f"holds {str(value)[:60]!r}, not a label but a {type(value).__name__}")
    return str(value)


def shown_labels(best: Iterable[tuple[str, float]]) -> list[str]:
    """Labels with their probabilities, for people."""
    return [f"{label} {probability:.3f}" for label, probability in best]
