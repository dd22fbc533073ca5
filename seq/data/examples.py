"""Text with its labels as a source gives it; rows without text; and the validation rows, where none are given."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from seq.config import DataConfig
from seq.errors import UserError

FEW_ROWS = 5
"""A validation split of a language model needs at least this many rows; otherwise the end of the text is used."""


@dataclass(frozen=True, kw_only=True)
class Examples:
    """One split. `texts` are documents for a language model, rows for a classifier (then with `labels`)."""

    origin: str
    """The split of the source, for messages: a validation split may be taken from `train`."""
    texts: list[str]
    labels: list[str] | None
    rows: list[int]
    """Row number of each text in the source, from 1."""

    def take(self, places: Iterable[int]) -> "Examples":
        """The chosen examples, in the given order."""
        chosen = [int(place) for place in places]
        return Examples(
            origin=self.origin,
            texts=[self.texts[place] for place in chosen],
            labels=None if self.labels is None else [self.labels[place] for place in chosen],
            rows=[self.rows[place] for place in chosen],
        )


def make_examples(origin: str, texts: list[str], labels: list[str] | None) -> Examples:
    """All rows of a split, numbered from 1."""
    return Examples(origin=origin, texts=texts, labels=labels, rows=list(range(1, len(texts) + 1)))


def drop_empty(split: Examples, config: DataConfig, notes: list[str]) -> Examples:
    """The rows that have text. UserError if there are rows without text and `data.empty=error`, or no row is left."""
    name = split.origin
    empty = [row for row, text in zip(split.rows, split.texts, strict=True) if not text.strip()]
    if len(empty) == len(split.texts):
        raise UserError(f"{name}: no row with text in data.source={config.source}")
    if empty and config.empty == "error":
        raise UserError(
            f"{name} row {empty[0]}: the text is empty ({len(empty)} such rows); data.empty=drop leaves them out"
        )
    if not empty:
        return split
    notes.append(f"{name}: {len(empty)} rows without text dropped (data.empty=drop)")
    return split.take(place for place, text in enumerate(split.texts) if text.strip())


def split_validation(train: Examples, fraction: float) -> dict[str, Examples]:
    """`train` and `validation`. A row validates if the hash of its text is below `fraction`: equal texts stay in one
    split, and added rows move no others. The last row of a label stays in `train`.

    Empty if a language model has too few documents for that. A classifier with too few rows validates on the last one.
    """
    digests = [hashlib.blake2b(text.encode(), digest_size=7).digest() for text in train.texts]
    chosen = np.array([int.from_bytes(digest, "big") < fraction * 2**56 for digest in digests])
    if train.labels is None and (chosen.sum() < FEW_ROWS or chosen.all()):
        return {}
    if train.labels is not None:
        staying = {label for label, moves in zip(train.labels, chosen, strict=True) if not moves}
        chosen &= np.array([label in staying for label in train.labels])
    places = np.arange(len(chosen))
    moved, kept = places[chosen], places[~chosen]
    return {"train": train.take(kept), "validation": train.take(moved if len(moved) else places[-1:])}
