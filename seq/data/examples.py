"""Texts with their labels, as a source gives them; removal of rows without text; and choice of validation rows, if none are given."""

import hashlib
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seq.config import DataConfig
from seq.data.ragged import BLOCK, Ints, smallest_dtype
from seq.data.texts import Text, Texts, blocks_of
from seq.errors import UserError

FEW_ROWS = 5
"""A validation split of a language model needs at least this many rows; otherwise pieces of the text are used."""
OFF = 0.05
"""How far the rounded shares of all labels may be from the share that was asked for."""
NEARLY_ALL = 0.9
"""Share of the texts that must be written as names are, so that `data.lowercase=null` means lower case."""
SEPARATOR = "\x1f"
"""Unicode's unit separator, between the columns of a text. It is a character like others, so every tokenizer has a token for it."""


def join_columns(parts: Sequence[str]) -> str:
    """The text of a row with several text columns."""
    return SEPARATOR.join(part.replace(SEPARATOR, " ") for part in parts) if len(parts) > 1 else parts[0]


Target = Any
"""The target of a text: a label, several, a number, a tag for each token, as `seq.data.targets` reads them."""


@dataclass(frozen=True, kw_only=True)
class Examples:
    """One split. `texts` are documents for a language model, rows for the other tasks (then with `targets`)."""

    name: str
    """The split, such as `validation`."""
    origin: str
    """The split of the source, whose rows are numbered: a validation split may be taken from `train`."""
    texts: Sequence[Text]
    targets: Sequence[Target] | None
    rows: Ints
    """Row number of each text in the source, from 1; of several files, one after the other."""
    files: Sequence[tuple[int, str]] = ()
    """The names of several files, each with the number of rows before it."""

    def where(self, place: int) -> str:
        """The origin of a text, for messages."""
        row = int(self.rows[place])
        before, name = next(((first, f"{file}: ") for first, file in reversed(self.files) if first < row), (0, ""))
        return f"{name}{self.origin} row {row - before}"

    def take(self, places: NDArray[np.integer[Any]]) -> "Examples":
        """The examples at `places`, each at most once and in rising order."""
        if len(places) == len(self.texts):
            return self
        targets = None if self.targets is None else _take(self.targets, places)
        return replace(self, texts=_take(self.texts, places), targets=targets, rows=self.rows[places])

    def with_rows_of(self, other: "Examples") -> "Examples":
        """These, and then those of `other`."""
        targets = None if self.targets is None else _join(self.targets, other.targets or ())
        rows = np.concatenate((self.rows, other.rows))
        return replace(self, texts=_join(self.texts, other.texts), targets=targets, rows=rows)


def _take(values: Sequence[Any], places: NDArray[np.integer[Any]]) -> Sequence[Any]:
    if isinstance(values, Texts):
        return values.take(places)
    parts = (places[first : first + BLOCK].tolist() for first in range(0, len(places), BLOCK))
    return [values[place] for part in parts for place in part]


def _join(first: Sequence[Any], second: Sequence[Any]) -> Sequence[Any]:
    if isinstance(first, Texts) and isinstance(second, Texts):
        return first.followed_by(second)
    return [*first, *second]


def make_examples(
    origin: str, texts: Sequence[Text], targets: Sequence[Target] | None, files: Sequence[tuple[int, str]] = ()
) -> Examples:
    """All rows of a split, numbered from 1."""
    rows = np.arange(1, len(texts) + 1, dtype=smallest_dtype(len(texts) + 1))
    return Examples(name=origin, origin=origin, texts=texts, targets=targets, rows=rows, files=files)


def drop_empty(split: Examples, config: DataConfig, notes: list[str]) -> Examples:
    """The rows that have text. UserError if there are rows without text and `data.empty=error`, or no row is left."""
    name = split.origin
    filled = np.fromiter(map(_has_text, split.texts), bool, len(split.texts))
    empty = np.flatnonzero(~filled)
    if not filled.any():
        raise UserError(f"{name}: no row with text in data.source={config.source}")
    if len(empty) and config.empty == "error":
        raise UserError(
            f"{split.where(empty[0])}: the text is empty ({len(empty)} such rows); data.empty=drop leaves them out"
        )
    if not len(empty):
        return split
    notes.append(f"{name}: {len(empty)} rows without text dropped (data.empty=drop)")
    return split.take(np.flatnonzero(filled))


def _has_text(text: Text) -> bool:
    return bool(text.strip()) if isinstance(text, str) else any(block.strip() for block in text.blocks())


def capitals_say_nothing(texts: Iterable[Text]) -> bool:
    """Whether nearly all texts that have letters with two cases are written as names are: a capital begins each word, and no other letter is
    one. Lower case then loses little."""
    titles = Counter(_is_title(block) for block in blocks_of(texts) if block.lower() != block.upper())
    return titles[True] > NEARLY_ALL * titles.total()


def _is_title(text: str) -> bool:
    """Whether a capital begins each word: by all signs between letters (O'Brien, Smith-Jones), or by spaces only (Men's)."""
    text = unicodedata.normalize("NFC", text)  # an accent of its own would end a word
    return text.istitle() or text == string.capwords(text, " ")


def split_validation(
    train: Examples, config: DataConfig, labels_of: Callable[[Target], Iterable[str]], notes: list[str]
) -> dict[str, Examples]:
    """`train` and `validation`. If every target has one label, `validation` has the same share of each label's rows, by largest
    remainders. `train` keeps at least one row with each label, and no text is in both. Empty if no split is to be cut, or if there
    are too few different texts, which a note says."""
    if config.validation_fraction == 0 or (train.targets is None and len(train.texts) < FEW_ROWS):
        return {}
    chosen = _validation_rows(train, config, labels_of)
    if train.targets is None and (chosen.sum() < FEW_ROWS or chosen.all()):
        return {}
    if not chosen.any():
        notes.append(
            "validation: none, because there are too few different texts to keep each label in training; raise data.validation_fraction, "
            "or give data.files.validation"
        )
        return {}
    validation = replace(train.take(np.flatnonzero(chosen)), name="validation")
    return {"train": train.take(np.flatnonzero(~chosen)), "validation": validation}


def _validation_rows(
    train: Examples, config: DataConfig, labels_of: Callable[[Target], Iterable[str]]
) -> NDArray[np.bool_]:
    digests, numbers = _group_digests(train.texts, config), dict[tuple[str, ...], int]()
    if train.targets is None:
        return _by_size(digests, train, config)
    # (n,) the place of each row's labels in a list of all that are different.
    own = np.fromiter((numbers.setdefault(tuple(labels_of(one)), len(numbers)) for one in train.targets), np.int32)
    labels = [sorted(set(each)) for each in numbers]
    chosen = _by_stratum(digests, _strata(own, labels), config)
    _keep_labels(chosen, digests, own, labels)
    return chosen


def note_shared(splits: Mapping[str, Examples], config: DataConfig) -> Iterator[str]:
    """Say how many texts of the given validation and test splits are training texts too."""
    others = [name for name in splits if name != "train"]
    if not others or "train" not in splits:
        return
    known = np.unique(_digests(splits["train"].texts, _as_read(config)))
    for name in others:
        own = _digests(splits[name].texts, _as_read(config))
        if shared := int(np.isin(own, known).sum()):
            yield f"{name}: {shared} of {len(own)} texts are training texts too, so its figures are too good"


def _digests(texts: Sequence[Text], read: Callable[[str], str] = str) -> NDArray[np.int64]:
    """A hash of each text, of what `read` makes of it."""

    def digest(text: Text) -> bytes:
        found = hashlib.blake2b(digest_size=7)
        for block in (text,) if isinstance(text, str) else text.blocks():
            found.update(read(block).encode("utf-8", "surrogatepass"))
        return b"\0" + found.digest()

    parts = texts.batches() if isinstance(texts, Texts) else [texts]
    return np.concatenate([np.frombuffer(b"".join(map(digest, part)), ">i8").astype(np.int64) for part in parts])


def _as_read(config: DataConfig) -> Callable[[str], str]:
    """What the model reads of a text: in lower case, or cut to `data.max_length` characters, where the config says so."""
    most = config.max_length if config.too_long == "truncate" and config.tokenizer == "characters" else None
    return lambda text: (text.lower() if config.lowercase else text)[:most]


def _group_digests(texts: Sequence[Text], config: DataConfig) -> NDArray[np.int64]:
    """A hash of each text, the same for all texts that the model reads alike: the least of their own."""
    own, read = _digests(texts), _as_read(config)
    if all(read(block) == block for block in blocks_of(texts)):
        return own
    group = np.unique(_digests(texts, read), return_inverse=True)[1]
    least = np.full(group.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(least, group, own)
    return np.asarray(least[group])


def _strata(own: NDArray[np.int32], labels: Sequence[Sequence[str]]) -> NDArray[np.int32]:
    """(n,) the place of each row's label among all labels; zeros if there is a target that has not one label."""
    if any(len(target) != 1 for target in labels):
        return np.zeros_like(own)
    places = {label: place for place, label in enumerate(sorted({target[0] for target in labels}))}
    return np.array([places[target[0]] for target in labels], np.int32)[own]


def _by_stratum(digests: NDArray[np.int64], label: NDArray[np.int32], config: DataConfig) -> NDArray[np.bool_]:
    """The rows of each `label` (n,) whose texts have the smallest digests. Equal texts stay in one split, so added rows move few others."""
    order = np.lexsort((digests, label))
    label, digest = label[order], digests[order]
    del order  # the arrays are as large as the data
    changes = np.ones(len(label), bool)
    changes[1:] = (label[1:] != label[:-1]) | (digest[1:] != digest[:-1])
    # The different texts of each label, by digest: where their rows begin and end.
    first = np.flatnonzero(changes).astype(smallest_dtype(len(label)))
    own, ends = label[first], np.append(first[1:], first.dtype.type(len(label)))
    rows, different = np.bincount(label), np.bincount(own)
    quotas = _quotas(np.where(different > 1, rows, 0), len(digests), config)
    fits = np.flatnonzero(ends <= (np.cumsum(rows) - rows + quotas).astype(ends.dtype)[own])
    fits = fits[fits < np.cumsum(different)[own[fits]] - 1]
    chosen = np.unique(digest[first[fits]])
    parts = range(0, len(digests), BLOCK)
    return np.concatenate([np.isin(digests[start : start + BLOCK], chosen) for start in parts])


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


def _keep_labels(
    chosen: NDArray[np.bool_], digests: NDArray[np.int64], own: NDArray[np.int32], labels: Sequence[Sequence[str]]
) -> None:
    """Take rows out of `chosen` until each label has a row that is not chosen. Equal texts stay together. `labels`: those of the targets
    that `own` (n,) numbers."""
    rows, kept = np.bincount(own[~chosen], minlength=len(labels)), Counter[str]()
    for target, count in enumerate(rows.tolist()):
        kept.update(dict.fromkeys(labels[target], count))
    for place in np.flatnonzero(chosen).tolist():
        if chosen[place] and any(not kept[label] for label in labels[own[place]]):
            equal = np.flatnonzero(digests == digests[place]).tolist()
            chosen[equal] = False
            kept.update(label for row in equal for label in labels[own[row]])


def _by_size(digests: NDArray[np.int64], train: Examples, config: DataConfig) -> NDArray[np.bool_]:
    """The documents with the smallest digests, up to the size that a validation split may have."""
    lengths = np.array([sum(map(len, blocks_of([text]))) for text in train.texts])
    most = min(config.validation_fraction * lengths.sum(), config.validation_tokens)
    order = digests.argsort(kind="stable")
    return np.asarray(np.isin(digests, digests[order[np.cumsum(lengths[order]) <= most]]))
