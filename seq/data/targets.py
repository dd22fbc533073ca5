"""What each task predicts: how a target is read from its column, coded as numbers, and put into a batch.

A task's targets are one class here, with the same methods as the others; `TARGETS` has them by task. Its loss is in
`seq.training.objective`, its figures are in `seq.training.scores`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seq.config import DataConfig, Task
from seq.data.examples import Examples, Target
from seq.data.plan import ShardSizes
from seq.data.ragged import Ints, RaggedArray
from seq.data.tokenizer import Tokenizer
from seq.errors import UserError

IGNORE_INDEX = -100
"""A target that carries no loss: `cross_entropy`'s own default."""

Coded = NDArray[Any] | RaggedArray | None
"""The targets of a split: a number for each sequence, or several; None where the sequence has all that is predicted."""


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What the outputs of a model stand for."""

    labels: tuple[str, ...] = ()
    """Classes by id, in alphabetical order."""
    mean: float = 0.0
    scale: float = 1.0
    """A number y is predicted as (y - mean) / scale: the mean and the standard deviation of the training data."""
    tokenizer: Tokenizer | None = None
    """Of the sequences that are written."""

    @property
    def size(self) -> int:
        """Classes or tokens; 1 for a number."""
        return self.tokenizer.vocab_size if self.tokenizer else max(1, len(self.labels))

    @classmethod
    def from_dict(cls, about: dict[str, Any]) -> "Outputs":
        tokenizer = None if about["tokenizer"] is None else Tokenizer(**about["tokenizer"])
        return cls(**about | {"labels": tuple(about["labels"]), "tokenizer": tokenizer})

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        tokenizer = self.tokenizer and self.tokenizer.to_dict()
        return {"labels": list(self.labels), "mean": self.mean, "scale": self.scale, "tokenizer": tokenizer}


class Targets(Protocol):
    """The targets of one task."""

    def read(self, value: Any, config: DataConfig) -> Target:
        """From a column's value. ValueError says what is wrong with it."""
        ...

    def learn(self, targets: Sequence[Any], config: DataConfig) -> Outputs:
        """What the outputs of a model stand for that is trained on `targets`."""
        ...

    def stratum(self, target: Any) -> str:
        """A validation split has the same share of the rows of each."""
        ...

    def code(self, split: Examples, outputs: Outputs) -> Coded:
        """UserError for a target that the training data do not have."""
        ...

    def time_steps(self, sequences: RaggedArray, coded: Coded) -> Ints:
        """Of each sequence with its markers, the steps that the model reads (N,); or those of source and target (N, 2)."""
        ...

    def count(self, sizes: ShardSizes) -> int:
        """Predictions that carry loss, in shards of these sizes."""
        ...

    def batch(self, padded: Ints, stored: Ints, chosen: Any, outputs: Outputs) -> dict[str, Tensor]:
        """`inputs`, `lengths` and `targets` of a batch. `padded` (B, T) and `stored` (B,): token ids with their lengths.
        `chosen`: the coded targets of the rows; none if the batch is an empty shard's one row of padding."""
        ...

    def show(self, target: Any, outputs: Outputs) -> str | None:
        """A row's target in a batch, for people; None if it is the text itself."""
        ...


class Rows:
    """What targets that belong to whole sequences share."""

    def stratum(self, target: Any) -> str:
        return str(target)

    def time_steps(self, sequences: RaggedArray, coded: Coded) -> Ints:
        return sequences.lengths

    def count(self, sizes: ShardSizes) -> int:
        return int(sizes.rows.sum())

    def _batch(self, padded: Ints, stored: Ints, targets: Tensor) -> dict[str, Tensor]:
        inputs = torch.from_numpy(_at_least(padded, 1))
        return {"inputs": inputs, "lengths": torch.from_numpy(stored).clamp(min=1), "targets": targets}


class Label(Rows):
    """One label. Coded (N,) by its place in `Outputs.labels`."""

    def read(self, value: Any, config: DataConfig) -> str:
        if value is None or value == "":
            raise ValueError("is empty")
        return str(value)

    def learn(self, targets: Sequence[str], config: DataConfig) -> Outputs:
        return Outputs(labels=tuple(sorted(set(targets))))

    def code(self, split: Examples, outputs: Outputs) -> Coded:
        return np.array(_label_ids(split, [[label] for label in split.targets or ()], outputs), np.int32)[:, 0]

    def batch(self, padded: Ints, stored: Ints, chosen: Ints, outputs: Outputs) -> dict[str, Tensor]:
        return self._batch(padded, stored, _ids_or_none(chosen))

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

    def code(self, split: Examples, outputs: Outputs) -> Coded:
        ids = _label_ids(split, split.targets or (), outputs)
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
        return Outputs(mean=float(numbers.mean()), scale=float(numbers.std()) or 1.0)

    def stratum(self, target: float) -> str:
        return ""

    def code(self, split: Examples, outputs: Outputs) -> Coded:
        return ((np.array(split.targets) - outputs.mean) / outputs.scale).astype(np.float32)

    def batch(self, padded: Ints, stored: Ints, chosen: NDArray[Any], outputs: Outputs) -> dict[str, Tensor]:
        targets = torch.tensor(chosen) if len(chosen) else torch.full((1,), torch.nan)
        return self._batch(padded, stored, targets)

    def show(self, target: float, outputs: Outputs) -> str | None:
        return f"{target * outputs.scale + outputs.mean:.6g}"


class NextToken:
    """The next token at every position of the text itself. A sequence's last token is only a target."""

    def read(self, value: Any, config: DataConfig) -> Target:
        raise AssertionError("a text has no target column")

    def learn(self, targets: Sequence[Any], config: DataConfig) -> Outputs:
        return Outputs()

    def stratum(self, target: Any) -> str:
        return ""

    def code(self, split: Examples, outputs: Outputs) -> Coded:
        return None

    def time_steps(self, sequences: RaggedArray, coded: Coded) -> Ints:
        return sequences.lengths - 1

    def count(self, sizes: ShardSizes) -> int:
        return int(sizes.tokens.sum())

    def batch(self, padded: Ints, stored: Ints, chosen: None, outputs: Outputs) -> dict[str, Tensor]:
        """Inputs are all tokens but the last, targets all but the first; an empty row is one step of padding."""
        tokens, lengths = torch.from_numpy(_at_least(padded, 2)), torch.from_numpy(stored - 1)
        outside = torch.arange(tokens.shape[1] - 1) >= lengths[:, None]
        inputs, targets = tokens[:, :-1].masked_fill(outside, 0), tokens[:, 1:].masked_fill(outside, IGNORE_INDEX)
        return {"inputs": inputs, "lengths": lengths.clamp(min=1), "targets": targets}

    def show(self, target: Any, outputs: Outputs) -> str | None:
        return None


class NextTokenByLabel(Label):
    """The next token of a text whose label is given."""

    def time_steps(self, sequences: RaggedArray, coded: Coded) -> Ints:
        return sequences.lengths - 1

    def count(self, sizes: ShardSizes) -> int:
        return int(sizes.tokens.sum())

    def batch(self, padded: Ints, stored: Ints, chosen: Ints, outputs: Outputs) -> dict[str, Tensor]:
        own = {"labels": _ids_or_none(chosen).clamp(min=0)}
        return TARGETS["write"].batch(padded, stored, None, outputs) | own

    def show(self, target: Any, outputs: Outputs) -> str | None:
        return None


class Tags:
    """A tag for each token. Coded like the tokens, by their places in `Outputs.labels`."""

    def read(self, value: Any, config: DataConfig) -> tuple[str, ...]:
        tags = value.split() if isinstance(value, str) else value
        if not isinstance(tags, list | tuple):
            raise ValueError(f"holds {value!r}, not a list of tags")
        return tuple(map(str, tags))

    def learn(self, targets: Sequence[tuple[str, ...]], config: DataConfig) -> Outputs:
        return Outputs(labels=tuple(sorted({tag for row in targets for tag in row})))

    def stratum(self, target: tuple[str, ...]) -> str:
        return ""

    def code(self, split: Examples, outputs: Outputs) -> Coded:
        for row, text, tags in zip(split.rows, split.texts, split.targets or (), strict=True):
            if (tokens := text.count(" ") + 1) != len(tags):
                raise UserError(
                    f"{split.origin} row {row}: {tokens} tokens, but {len(tags)} tags; each token needs one"
                )
        ids = _label_ids(split, split.targets or (), outputs)
        return RaggedArray.of([np.array(row, np.int32) for row in ids])

    def time_steps(self, sequences: RaggedArray, coded: Coded) -> Ints:
        return sequences.lengths

    def count(self, sizes: ShardSizes) -> int:
        return int(sizes.tokens.sum())

    def batch(self, padded: Ints, stored: Ints, chosen: RaggedArray, outputs: Outputs) -> dict[str, Tensor]:
        inputs, lengths = torch.from_numpy(_at_least(padded, 1)), torch.from_numpy(stored)
        tags = np.zeros_like(padded) if not len(chosen) else chosen.pad(np.arange(len(chosen)))[0]
        outside = torch.arange(inputs.shape[1]) >= lengths[:, None]
        targets = torch.from_numpy(_at_least(tags, 1)).masked_fill(outside, IGNORE_INDEX)
        return {"inputs": inputs, "lengths": lengths.clamp(min=1), "targets": targets}

    def show(self, target: list[int], outputs: Outputs) -> str | None:
        return " ".join(outputs.labels[tag] for tag in target if tag >= 0)


class Written:
    """Another sequence. Coded as its token ids with markers around them."""

    def read(self, value: Any, config: DataConfig) -> str:
        tokens = " ".join(value) if isinstance(value, list) else value
        if not isinstance(tokens, str) or not tokens.strip():
            raise ValueError("is empty" if not tokens else f"holds {value!r}, not text")
        return tokens

    def learn(self, targets: Sequence[str], config: DataConfig) -> Outputs:
        kind, size = config.target_tokenizer, config.vocab_size
        return Outputs(tokenizer=Tokenizer.train(kind, targets, lowercase=False, min_count=1, vocab_size=size))

    def stratum(self, target: str) -> str:
        return ""

    def code(self, split: Examples, outputs: Outputs) -> Coded:
        assert outputs.tokenizer is not None
        return outputs.tokenizer.encode(split.targets or ())

    def time_steps(self, sequences: RaggedArray, coded: Coded) -> Ints:
        assert isinstance(coded, RaggedArray)
        return np.column_stack((sequences.lengths, coded.lengths - 1))

    def count(self, sizes: ShardSizes) -> int:
        return int(sizes.target_tokens.sum())

    def batch(self, padded: Ints, stored: Ints, chosen: RaggedArray, outputs: Outputs) -> dict[str, Tensor]:
        """The decoder's inputs and the targets are those of a language model."""
        own = chosen if len(chosen) else RaggedArray.of([np.empty(0, np.int64)])
        tokens, sizes = own.pad(np.arange(len(own)))
        decoder = TARGETS["write"].batch(tokens, sizes, None, outputs)
        return {
            "inputs": torch.from_numpy(_at_least(padded, 1)),
            "lengths": torch.from_numpy(stored).clamp(min=1),
            "targets": decoder["targets"],
            "target_inputs": decoder["inputs"],
            "target_lengths": decoder["lengths"],
        }

    def show(self, target: list[int], outputs: Outputs) -> str | None:
        assert outputs.tokenizer is not None
        return outputs.tokenizer.decode(target)


TARGETS: dict[Task, Targets] = {
    "classify": Label(),
    "classify_many": LabelSet(),
    "regress": Number(),
    "write": NextToken(),
    "write_by_label": NextTokenByLabel(),
    "tag": Tags(),
    "transduce": Written(),
}


def _label_ids(split: Examples, targets: Sequence[Sequence[str]], outputs: Outputs) -> list[list[int]]:
    ids = {label: place for place, label in enumerate(outputs.labels)}
    for row, label in ((row, label) for row, own in zip(split.rows, targets, strict=True) for label in own):
        if label not in ids:
            known = ", ".join(outputs.labels[:8]) + ", ..." * (len(outputs.labels) > 8)
            raise UserError(
                f"{split.origin} row {row}: label {label!r} does not occur in the training data "
                f"({len(outputs.labels)} labels: {known}); correct it, or give that label rows to train on"
            )
    return [[ids[label] for label in own] for own in targets]


def _ids_or_none(chosen: Ints) -> Tensor:
    return torch.from_numpy(chosen.astype(np.int64)) if len(chosen) else torch.full((1,), IGNORE_INDEX)


def _at_least(padded: Ints, width: int) -> Ints:
    return np.pad(padded, ((0, 0), (0, max(0, width - padded.shape[1]))))
