"""Per-sequence targets: a label, several labels, or a number."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seq.config import DataConfig
from seq.data.cut import frame, limit_length
from seq.data.examples import Examples
from seq.data.outputs import IGNORE_INDEX, Coded, Outputs
from seq.data.plan import ShardSizes
from seq.data.ragged import Ints, RaggedArray, at_least
from seq.errors import UserError


class Rows(ABC):
    """The base of targets that belong to whole sequences."""

    def labels(self, target: Any) -> Sequence[str]:
        return ()

    def examples(
        self, tokens: RaggedArray, split: Examples, outputs: Outputs, config: DataConfig, notes: list[str]
    ) -> tuple[RaggedArray, Coded]:
        tokens, kept = limit_length(tokens, split.origin, split.rows, config, notes, markers=0)
        return frame(tokens), self.code(split.take(kept), outputs)

    @abstractmethod
    def code(self, split: Examples, outputs: Outputs) -> Coded:
        """A number for each row, or several."""

    def time_steps(self, sequences: RaggedArray, coded: Coded) -> Ints:
        return sequences.lengths

    def count(self, sizes: ShardSizes) -> int:
        return int(sizes.rows.sum())

    def _batch(self, padded: Ints, stored: Ints, targets: Tensor) -> dict[str, Tensor]:
        inputs = torch.from_numpy(at_least(padded, 1))
        return {"inputs": inputs, "lengths": torch.from_numpy(stored).clamp(min=1), "targets": targets}


class Label(Rows):
    """One label. Coded (N,) by its place in `Outputs.labels`."""

    def read(self, value: Any, config: DataConfig) -> str:
        if value is None or value == "":
            raise ValueError("is empty")
        return str(value)

    def labels(self, target: str) -> Sequence[str]:
        return (target,)

    def learn(self, targets: Sequence[str], config: DataConfig) -> Outputs:
        return Outputs(labels=tuple(sorted(set(targets))))

    def code(self, split: Examples, outputs: Outputs) -> Coded:
        return np.array(label_ids(split, [[label] for label in split.targets or ()], outputs), np.int32)[:, 0]

    def batch(self, padded: Ints, stored: Ints, chosen: Ints, outputs: Outputs) -> dict[str, Tensor]:
        return self._batch(padded, stored, ids_or_none(chosen))

    def show(self, target: int, outputs: Outputs) -> str | None:
        return outputs.labels[target]


class LabelSet(Rows):
    """Any number of labels. Coded as their places in `Outputs.labels`, a sequence for each row."""

    def read(self, value: Any, config: DataConfig) -> tuple[str, ...]:
        parts = value.split(config.label_separator) if isinstance(value, str) else [] if value is None else value
        if not isinstance(parts, list):
            raise ValueError(f"holds {value!r}, not a list of labels")
        return tuple(sorted({str(part).strip() for part in parts} - {""}))

    def learn(self, targets: Sequence[tuple[str, ...]], config: DataConfig) -> Outputs:
        labels = {label for row in targets for label in row}
        if not labels:
            raise UserError("train: no row has a label (data.label); model.target=labels needs some")
        return Outputs(labels=tuple(sorted(labels)))

    def labels(self, target: tuple[str, ...]) -> Sequence[str]:
        return target

    def code(self, split: Examples, outputs: Outputs) -> Coded:
        ids = label_ids(split, split.targets or (), outputs)
        return RaggedArray.of([np.array(row, np.int32) for row in ids])

    def batch(self, padded: Ints, stored: Ints, chosen: RaggedArray, outputs: Outputs) -> dict[str, Tensor]:
        targets = torch.zeros(max(1, len(chosen)), outputs.size)
        rows = np.repeat(np.arange(len(chosen)), chosen.lengths)
        targets[rows, torch.from_numpy(chosen.values.astype(np.int64))] = 1.0
        return self._batch(padded, stored, targets if len(chosen) else targets.fill_(IGNORE_INDEX))

    def show(self, target: list[float], outputs: Outputs) -> str | None:
        return "; ".join(label for label, there in zip(outputs.labels, target, strict=True) if there)


class Number(Rows):
    """A number. Coded (N,) with mean 0 and standard deviation 1 over the training data."""

    def read(self, value: Any, config: DataConfig) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise ValueError(f"holds {value!r}, not a number")
        return number

    def learn(self, targets: Sequence[float], config: DataConfig) -> Outputs:
        numbers = np.array(targets)
        return Outputs(mean=float(numbers.mean()), scale=(float(numbers.std()) if np.ptp(numbers) else 0.0) or 1.0)

    def code(self, split: Examples, outputs: Outputs) -> Coded:
        return ((np.array(split.targets) - outputs.mean) / outputs.scale).astype(np.float32)

    def batch(self, padded: Ints, stored: Ints, chosen: NDArray[Any], outputs: Outputs) -> dict[str, Tensor]:
        targets = torch.tensor(chosen) if len(chosen) else torch.full((1,), torch.nan)
        return self._batch(padded, stored, targets)

    def show(self, target: float, outputs: Outputs) -> str | None:
        return f"{target * outputs.scale + outputs.mean:.6g}"


def label_ids(split: Examples, targets: Sequence[Sequence[str]], outputs: Outputs) -> list[list[int]]:
    ids = {label: place for place, label in enumerate(outputs.labels)}
    for row, label in ((row, label) for row, own in zip(split.rows, targets, strict=True) for label in own):
        if label not in ids:
            known = ", ".join(outputs.labels[:8]) + ", ..." * (len(outputs.labels) > 8)
            raise UserError(
                f"{split.origin} row {row}: label {label!r} does not occur in the training data "
                f"({len(outputs.labels)} labels: {known}); correct it, or give that label rows to train on"
            )
    return [[ids[label] for label in own] for own in targets]


def ids_or_none(chosen: Ints) -> Tensor:
    return torch.from_numpy(chosen.astype(np.int64)) if len(chosen) else torch.full((1,), IGNORE_INDEX)
