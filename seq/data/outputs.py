"""The meaning of a model's outputs, and targets as numbers."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from seq.data.ragged import RaggedArray
from seq.data.tokenizer import Tokenizer

IGNORE_INDEX = -100
"""A target that carries no loss: `cross_entropy`'s own default."""

Coded = NDArray[Any] | RaggedArray | None
"""The targets of a split: a number for each sequence, or several; None if the sequence itself is what is predicted."""


NUMBER = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Each label once: by size if all are numbers, else in alphabetical order."""
    found = sorted(set(labels))
    return tuple(sorted(found, key=float) if are_numbers(found) else found)


def are_numbers(labels: Iterable[str]) -> bool:
    return all(NUMBER.fullmatch(label) for label in labels)


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """The meaning of a model's outputs."""

    labels: tuple[str, ...] = ()
    """Classes by id, `in_order`."""
    mean: float = 0.0
    scale: float = 1.0
    """A number y is predicted as (y - mean) / scale: the mean and the standard deviation of the training data."""
    tokenizer: Tokenizer | None = None
    """The tokenizer of the sequences that are written."""

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


class Vocabulary(Protocol):
    """The meaning of ids. A trained model has one, and so has a corpus."""

    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def outputs(self) -> Outputs: ...


class NewVocabulary(NamedTuple):
    """That of data which are being prepared."""

    tokenizer: Tokenizer
    outputs: Outputs
