"""From the texts of each split to its sequences of token ids."""

from collections.abc import Mapping

import numpy as np

from seq.config import DataConfig, Task
from seq.data.cut import cut_streams, frame, limit_length, newline_id, split_long
from seq.data.examples import Examples
from seq.data.outputs import Coded, Outputs
from seq.data.ragged import Ints, RaggedArray, slices, smallest_dtype
from seq.data.targets import TARGETS
from seq.data.tokenizer import Tokenizer

SMALL_PIECE = 1000
"""Fewest tokens of a piece of text that validates: it begins without context."""

Encoded = tuple[RaggedArray, Coded]
"""Sequences with their markers, and their targets."""


def encode_splits(
    splits: Mapping[str, Examples],
    task: Task,
    tokenizer: Tokenizer,
    outputs: Outputs,
    config: DataConfig,
    notes: list[str],
) -> dict[str, Encoded]:
    """The sequences of each split. UserError for a row that is too long, or whose label no training row has."""
    if task != "language_modeling":
        encode = TARGETS[task].examples
        return {
            name: encode(_encode(split.texts, tokenizer), split, outputs, config, notes)
            for name, split in splits.items()
        }
    documents = {name: frame(_encode(split.texts, tokenizer)) for name, split in splits.items()}
    if (
        "validation" not in documents
        and "train" in documents
        and config.validation_fraction
        and not config.train_on_validation
    ):
        documents |= cut_pieces(documents["train"], config, newline_id(tokenizer), notes)
    encoded: dict[str, Encoded] = {}
    for name, whole in documents.items():
        newline = newline_id(tokenizer)
        train = name == "train"
        cut = _training_sequences(whole, config, newline, notes) if train else _evaluated(whole, config, newline)
        encoded[name] = (cut, None)
    return encoded


def _encode(texts: list[str], tokenizer: Tokenizer) -> RaggedArray:
    encoded = tokenizer.encode(texts)
    return RaggedArray(encoded.values.astype(smallest_dtype(tokenizer.vocab_size)), encoded.offsets)


def cut_pieces(documents: RaggedArray, config: DataConfig, newline: int, notes: list[str]) -> dict[str, RaggedArray]:
    """Pieces of the text, spread over it, become the validation split. Each sequence of either split has the token before its
    first target as context."""
    total = int((documents.lengths - 1).sum())
    if total < 2:
        notes.append("validation: the only sequence trains and validates; give data.files.validation")
        return {"train": documents, "validation": documents}
    size = min(round(config.validation_fraction * total), config.validation_tokens)
    count = max(1, min(config.validation_pieces, size // SMALL_PIECE))
    # The piece lies at the end of each of `count` equal parts of the text.
    stops = total * np.arange(1, count + 1) // count
    starts = np.maximum(stops - max(1, size // count), np.concatenate(([1], stops[:-1])))
    bounds = _at_units(np.column_stack((starts, stops)).ravel(), documents, config, newline)
    cuts = np.concatenate(([0], bounds))
    validation = int((cuts[2::2] - cuts[1::2]).sum())
    notes.append(f"validation: {count} piece(s) of the training text, {validation} of {total} tokens")
    return {
        "train": _targets(documents, cuts[0:-1:2], cuts[1::2]),
        "validation": _targets(documents, cuts[1::2], cuts[2::2]),
    }


def _at_units(bounds: Ints, documents: RaggedArray, config: DataConfig, newline: int) -> Ints:
    """Pieces (begin, end, begin, end, ...) made longer, so that they are whole units (paragraphs, where units are longer); as
    they are, if a piece would become more than twice as long."""
    unit = config.unit if config.unit in ("line", "paragraph") else "paragraph"
    ends = np.concatenate(([0], np.cumsum(cut_streams(documents, unit, newline).lengths - 1)))
    whole = bounds.copy()
    whole[0::2] = ends[np.searchsorted(ends, bounds[0::2], side="right") - 1]
    whole[1::2] = ends[np.searchsorted(ends, bounds[1::2])]
    longest = 2 * (bounds[1::2] - bounds[0::2]).max()
    fits = whole[0] > 0 and (np.diff(whole) > 0).all() and (whole[1::2] - whole[0::2]).max() <= longest
    return whole if fits else bounds


def _targets(documents: RaggedArray, starts: Ints, stops: Ints) -> RaggedArray:
    """The targets `starts[i]` to `stops[i] - 1` of all documents, cut where a document ends."""
    own = np.concatenate(([0], np.cumsum(documents.lengths - 1)))
    begins = np.union1d(starts, own[:-1])
    begins = begins[np.searchsorted(starts, begins, side="right") > np.searchsorted(stops, begins, side="right")]
    ends = np.union1d(stops, own[1:])
    ends = ends[np.searchsorted(ends, begins, side="right")]
    # Before a document's targets lies its first token: one place more for each document.
    document = np.searchsorted(own, begins, side="right") - 1
    return slices(documents.values, begins + document, ends + document + 1)


def _evaluated(documents: RaggedArray, config: DataConfig, newline: int) -> RaggedArray:
    """Cut as in training, so that each sequence begins with the state with which it would begin there; but no token is left out."""
    if config.reads_whole_documents:
        return split_long(documents, config.evaluation_max_length)
    return split_long(cut_streams(documents, config.unit, newline), config.max_length)


def _training_sequences(documents: RaggedArray, config: DataConfig, newline: int, notes: list[str]) -> RaggedArray:
    units = cut_streams(documents, config.unit, newline)
    if config.unit == "document" and config.too_long == "auto":
        return units
    if config.unit == "window" or config.too_long in ("auto", "split"):
        return split_long(units, config.max_length)
    return limit_length(units, "train", range(1, len(units) + 1), config, notes, markers=1)[0]
