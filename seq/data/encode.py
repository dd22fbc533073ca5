"""From the texts of each split to its sequences of token ids; and the validation split, where none is given."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from seq.config import DataConfig
from seq.data.cut import cut_streams, newline_id, split_long
from seq.data.examples import Examples
from seq.data.limits import limit_length
from seq.data.ragged import Ints, RaggedArray, smallest_dtype
from seq.data.tokenizer import Tokenizer, frame
from seq.errors import UserError

Encoded = tuple[RaggedArray, Ints | None]
"""Sequences with their markers, and for a classifier the label id of each."""

FEW_ROWS = 5
"""Fewer rows than this are no validation split: then it is cut from the end of the text, not by rows."""


def cut_rows(train: Examples, fraction: float) -> dict[str, Examples]:
    """`train` and `validation`: the rows whose text hashes below `fraction`, so that equal texts stay on one side and
    more rows move none. A label never leaves `train`. Empty where a language model has too few documents for that;
    a classifier with too few rows validates on the last one, or on its only one."""
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


def encode_splits(
    splits: Mapping[str, Examples], tokenizer: Tokenizer, labels: Sequence[str], config: DataConfig, notes: list[str]
) -> dict[str, Encoded]:
    """The sequences of each split. UserError for a row that is too long, or that has a label of no training row."""
    if any(split.labels is not None for split in splits.values()):
        return {name: _encode_rows(split, tokenizer, labels, config, notes) for name, split in splits.items()}
    units = {name: _encode_units(split, tokenizer, config) for name, split in splits.items()}
    if "validation" not in units and "train" in units:
        units |= _cut_end(units["train"], config, notes)
    return {name: (_limit_units(name, sequences, config, notes), None) for name, sequences in units.items()}


def _encode(texts: list[str], tokenizer: Tokenizer) -> RaggedArray:
    encoded = tokenizer.encode(texts)
    return RaggedArray(encoded.values.astype(smallest_dtype(tokenizer.vocab_size)), encoded.offsets)


def _encode_rows(
    split: Examples, tokenizer: Tokenizer, labels: Sequence[str], config: DataConfig, notes: list[str]
) -> Encoded:
    encoded = _encode(split.texts, tokenizer)
    encoded, kept = limit_length(encoded, split.origin, split.rows, config, notes, markers=0)
    return frame(encoded), _label_ids(split.take(kept), labels)


def _label_ids(split: Examples, labels: Sequence[str]) -> Ints:
    assert split.labels is not None
    ids = {label: place for place, label in enumerate(labels)}
    for row, label in zip(split.rows, split.labels, strict=True):
        if label not in ids:
            raise UserError(
                f"{split.origin} row {row}: label {label!r} does not occur in the training data "
                f"({len(labels)} labels: {', '.join(labels[:8])}{', ...' if len(labels) > 8 else ''})"
            )
    return np.array([ids[label] for label in split.labels], np.int32)


def _encode_units(split: Examples, tokenizer: Tokenizer, config: DataConfig) -> RaggedArray:
    return cut_streams(frame(_encode(split.texts, tokenizer)), config.unit, newline_id(tokenizer))


def _cut_end(units: RaggedArray, config: DataConfig, notes: list[str]) -> dict[str, RaggedArray]:
    """The end of the text validates: the last units with `validation_fraction` of the targets."""
    units = units if len(units) > 1 else split_long(units, config.max_length)
    if len(units) == 1:
        notes.append("validation: the only sequence trains and validates; give data.files.validation")
        return {"train": units, "validation": units}
    targets = np.cumsum(units.lengths - 1)
    first = int(np.searchsorted(targets, targets[-1] * (1 - config.validation_fraction)))
    first = min(max(first, 1), len(units) - 1)
    notes.append(f"validation: the last {len(units) - first} of {len(units)} sequences of the training text")
    places = np.arange(len(units))
    return {"train": units.take(places[:first]), "validation": units.take(places[first:])}


def _limit_units(name: str, units: RaggedArray, config: DataConfig, notes: list[str]) -> RaggedArray:
    if name != "train" and config.evaluation_max_length is not None:
        config = config.model_copy(update={"max_length": config.evaluation_max_length})
    if config.unit == "window" or config.too_long in ("auto", "split"):
        return split_long(units, config.max_length)
    return limit_length(units, name, range(1, len(units) + 1), config, notes, markers=1)[0]
