"""Texts with their labels, as a source gives them; removal of rows without text; and choice of validation rows, if none are given."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seq.config import DataConfig
from seq.data.tables import TextFile, blocks_of
from seq.errors import UserError

FEW_ROWS = 5
"""A validation split of a language model needs at least this many rows; otherwise pieces of the text are used."""


OFF = 0.05
"""How far the rounded shares of all labels may be from the share that was asked for."""
SEPARATOR = "\x1f"
"""Unicode's unit separator, between the columns of a text. It is a character like others, so every tokenizer has a token for it."""


def join_columns(parts: Sequence[str]) -> str:
    """The text of a row with several text columns."""
    return SEPARATOR.join(part.replace(SEPARATOR, " ") for part in parts) if len(parts) > 1 else parts[0]


Text = str | TextFile
Target = Any
"""The target of a text: a label, several, a number, a tag for each token, as `seq.data.targets` reads them."""


@dataclass(frozen=True, kw_only=True)
class Examples:
    """One split. `texts` are documents for a language model, rows for the other tasks (then with `targets`)."""

    origin: str
    """The split of the source, for messages: a validation split may be taken from `train`."""
    texts: Sequence[Text]
    targets: Sequence[Target] | None
    rows: NDArray[np.int64]
    """Row number of each text in the source, from 1."""

    def take(self, places: NDArray[np.integer[Any]]) -> "Examples":
        """The chosen examples, in the given order."""
        chosen = places.tolist()
        return Examples(
            origin=self.origin,
            texts=[self.texts[place] for place in chosen],
            targets=None if self.targets is None else [self.targets[place] for place in chosen],
            rows=self.rows[chosen],
        )

    def with_rows_of(self, other: "Examples") -> "Examples":
        """These, and then those of `other`."""
        targets = None if self.targets is None else [*self.targets, *(other.targets or ())]
        return replace(
            self, texts=[*self.texts, *other.texts], targets=targets, rows=np.concatenate((self.rows, other.rows))
        )


def make_examples(origin: str, texts: Sequence[Text], targets: Sequence[Target] | None) -> Examples:
    """All rows of a split, numbered from 1."""
    return Examples(origin=origin, texts=texts, targets=targets, rows=np.arange(1, len(texts) + 1))


def drop_empty(split: Examples, config: DataConfig, notes: list[str]) -> Examples:
    """The rows that have text. UserError if there are rows without text and `data.empty=error`, or no row is left."""
    name = split.origin
    filled = np.fromiter(map(_has_text, split.texts), bool, len(split.texts))
    empty = split.rows[~filled]
    if not filled.any():
        raise UserError(f"{name}: no row with text in data.source={config.source}")
    if len(empty) and config.empty == "error":
        raise UserError(
            f"{name} row {empty[0]}: the text is empty ({len(empty)} such rows); data.empty=drop leaves them out"
        )
    if not len(empty):
        return split
    notes.append(f"{name}: {len(empty)} rows without text dropped (data.empty=drop)")
    return split.take(np.flatnonzero(filled))


def _has_text(text: Text) -> bool:
    return bool(text.strip()) if isinstance(text, str) else any(block.strip() for block in text.blocks())


def split_validation(
    train: Examples, config: DataConfig, labels_of: Callable[[Target], Iterable[str]], notes: list[str]
) -> dict[str, Examples]:
    """`train` and `validation`. If every target has one label, `validation` has the same share of each label's rows, by largest
    remainders. `train` keeps at least one row with each label, and no text is in both. Empty if no split is to be cut, or if there
    are too few different texts, which a note says."""
    if config.validation_fraction == 0 or (train.targets is None and len(train.texts) < FEW_ROWS):
        return {}
    digests = np.fromiter(map(_digest, train.texts), np.int64, len(train.texts))
    whole, known = train.targets is None, dict[Target, list[str]]()  # equal targets share one list
    labels = [known.get(one) or known.setdefault(one, sorted(set(labels_of(one)))) for one in train.targets or ()]
    one_each = all(len(own) == 1 for own in known.values())
    numbers = {label: number for number, label in enumerate(sorted({own[0] for own in known.values() if one_each}))}
    strata = np.fromiter((numbers[own[0]] if one_each else 0 for own in labels), np.int64, len(labels))
    chosen = _by_size(digests, train, config) if whole else _by_stratum(digests, strata, config)
    if whole and (chosen.sum() < FEW_ROWS or chosen.all()):
        return {}
    if not whole:
        _keep_labels(chosen, digests, labels)
    if not chosen.any():
        notes.append(
            "validation: none, because there are too few different texts to keep each label in training; give data.files.validation"
        )
        return {}
    return {"train": train.take(np.flatnonzero(~chosen)), "validation": train.take(np.flatnonzero(chosen))}


def _digest(text: Text) -> int:
    digest = hashlib.blake2b(digest_size=7)
    for block in (text,) if isinstance(text, str) else text.blocks():
        digest.update(block.encode("utf-8", "surrogatepass"))
    return int.from_bytes(digest.digest(), "big")


def _by_stratum(digests: NDArray[np.int64], label: NDArray[np.int64], config: DataConfig) -> NDArray[np.bool_]:
    """The rows of each `label` (n,) whose texts have the smallest digests. Equal texts stay in one split, so added rows move few others."""
    order = np.lexsort((digests, label))
    # The different texts of each label, by digest, with the number of their rows.
    first = np.flatnonzero(np.diff(label[order], prepend=-1) | np.diff(digests[order], prepend=-1))
    own, sizes = label[order][first], np.diff(first, append=len(order))
    rows, different = np.bincount(label), np.bincount(own)
    quotas = _quotas(np.where(different > 1, rows, 0), len(digests), config)
    taken = np.cumsum(sizes) - (np.cumsum(rows) - rows)[own]
    rank = np.arange(len(own)) - (np.cumsum(different) - different)[own]
    fits = (taken <= quotas[own]) & (rank < different[own] - 1)
    return np.isin(digests, digests[order][first[fits]])


def _quotas(rows: NDArray[np.int64], total: int, config: DataConfig) -> NDArray[np.int64]:
    """Rows of each label that validate: its share, rounded. Where these add up to another share of all `total` rows, as of many labels
    with few rows each, it is rounded by largest remainders instead."""
    wanted = max(1, min(round(config.validation_fraction * total), config.validation_rows))
    shares = rows * min(config.validation_fraction, config.validation_rows / total)
    quotas = np.rint(shares).astype(np.int64)
    if abs(quotas.sum() - wanted) <= OFF * wanted:
        return np.asarray(quotas)
    quotas = np.floor(shares).astype(np.int64)
    left = max(int(not quotas.any()), round(float(shares.sum())) - int(quotas.sum()))
    largest = np.argsort(-(shares - quotas), kind="stable")[:left]
    quotas[largest] += rows[largest] > 0
    return np.asarray(quotas)


def _keep_labels(chosen: NDArray[np.bool_], digests: NDArray[np.int64], labels: Sequence[Sequence[str]]) -> None:
    """Take rows out of `chosen` until each label has a row that is not chosen. Equal texts stay together."""
    kept = Counter(label for place in np.flatnonzero(~chosen).tolist() for label in labels[place])
    for place in np.flatnonzero(chosen).tolist():
        if chosen[place] and any(not kept[label] for label in labels[place]):
            equal = np.flatnonzero(digests == digests[place]).tolist()
            chosen[equal] = False
            kept.update(label for row in equal for label in labels[row])


def _by_size(digests: NDArray[np.int64], train: Examples, config: DataConfig) -> NDArray[np.bool_]:
    """The documents with the smallest digests, up to the size that a validation split may have."""
    lengths = np.array([sum(map(len, blocks_of(text))) for text in train.texts])
    most = min(config.validation_fraction * lengths.sum(), config.validation_tokens)
    order = digests.argsort(kind="stable")
    return np.asarray(np.isin(digests, digests[order[np.cumsum(lengths[order]) <= most]]))
