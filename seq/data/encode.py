"""From the texts of each split to its sequences of token ids."""

from collections.abc import Mapping, Sequence

import numpy as np

from seq.config import DataConfig
from seq.data.cut import cut_streams, limit_length, newline_id, split_long
from seq.data.examples import Examples
from seq.data.ragged import Ints, RaggedArray, slices, smallest_dtype
from seq.data.tokenizer import BOS, EOS, Tokenizer
from seq.errors import UserError

Encoded = tuple[RaggedArray, Ints | None]
"""Sequences with their markers; for a classifier, also the label id of each."""


def encode_splits(
    splits: Mapping[str, Examples], tokenizer: Tokenizer, labels: Sequence[str], config: DataConfig, notes: list[str]
) -> dict[str, Encoded]:
    """The sequences of each split. UserError for a row that is too long, or whose label no training row has."""
    if any(split.labels is not None for split in splits.values()):
        return {name: _encode_rows(split, tokenizer, labels, config, notes) for name, split in splits.items()}
    documents = {name: frame(_encode(split.texts, tokenizer)) for name, split in splits.items()}
    if "validation" not in documents and "train" in documents:
        documents |= _cut_end(documents["train"], config, newline_id(tokenizer), notes)
    encoded: dict[str, Encoded] = {}
    for name, whole in documents.items():
        if name == "train":
            encoded[name] = (_training_sequences(whole, config, newline_id(tokenizer), notes), None)
        else:
            encoded[name] = (split_long(whole, config.evaluation_max_length), None)
    return encoded


def frame(texts: RaggedArray) -> RaggedArray:
    """BOS and EOS around each text."""
    offsets = texts.offsets + 2 * np.arange(len(texts) + 1)
    values = np.empty(offsets[-1], texts.values.dtype)
    inside = np.ones(len(values), bool)
    inside[offsets[:-1]] = inside[offsets[1:] - 1] = False
    values[inside] = texts.values
    values[offsets[:-1]], values[offsets[1:] - 1] = BOS, EOS
    return RaggedArray(values, offsets)


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
                f"({len(labels)} labels: {', '.join(labels[:8])}{', ...' if len(labels) > 8 else ''}); correct it, or give "
                "that label rows to train on"
            )
    return np.array([ids[label] for label in split.labels], np.int32)


def _cut_end(documents: RaggedArray, config: DataConfig, newline: int, notes: list[str]) -> dict[str, RaggedArray]:
    """The end of the text becomes the validation split: `validation_fraction` of the targets, or up to twice that, so that
    it begins with a unit."""
    bounds = np.concatenate(([0], np.cumsum(documents.lengths - 1)))
    if bounds[-1] < 2:
        notes.append("validation: the only sequence trains and validates; give data.files.validation")
        return {"train": documents, "validation": documents}
    cut = max(1, int(bounds[-1] * (1 - config.validation_fraction)))
    ends = np.cumsum(cut_streams(documents, config.unit, newline).lengths - 1)
    near = ends[(ends < bounds[-1]) & (ends >= 2 * cut - bounds[-1])]
    cut = int(near[np.abs(near - cut).argmin()]) if len(near) else cut
    notes.append(f"validation: the last {bounds[-1] - cut} of {bounds[-1]} tokens of the training text")
    starts, stops = documents.offsets[:-1], documents.offsets[1:]
    own = cut - bounds[:-1]  # targets of each document before the cut
    before, after = own > 0, bounds[1:] > cut
    train = slices(documents.values, starts[before], np.minimum(stops, starts + 1 + own)[before])
    return {"train": train, "validation": slices(documents.values, (starts + own.clip(0))[after], stops[after])}


def _training_sequences(documents: RaggedArray, config: DataConfig, newline: int, notes: list[str]) -> RaggedArray:
    units = cut_streams(documents, config.unit, newline)
    if config.unit == "document" and config.too_long == "auto":
        return units
    if config.unit == "window" or config.too_long in ("auto", "split"):
        return split_long(units, config.max_length)
    return limit_length(units, "train", range(1, len(units) + 1), config, notes, markers=1)[0]
