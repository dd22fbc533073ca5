"""Rows that cannot be used as they are, empty or too long: the config says what happens, and it is counted."""

import numpy as np

from seq.config import DataConfig
from seq.data.ragged import Ints, RaggedArray, slices
from seq.data.sources import Examples
from seq.errors import UserError


def check_split(name: str, split: Examples, config: DataConfig, notes: list[str]) -> Examples:
    """Without the rows that have no text. UserError if that is the policy, or if nothing is left."""
    empty = [row for row, text in enumerate(split.texts, 1) if not text.strip()]
    if len(empty) == len(split.texts):
        raise UserError(f"{name}: no row with text in data.source={config.source}")
    if empty and config.empty == "error":
        raise UserError(
            f"{name} row {empty[0]}: the text is empty ({len(empty)} such rows); data.empty=drop leaves them out"
        )
    if not empty:
        return split
    notes.append(f"{name}: {len(empty)} rows without text dropped (data.empty=drop)")
    kept = np.setdiff1d(np.arange(len(split.texts)), np.array(empty) - 1)
    labels = None if split.labels is None else [split.labels[row] for row in kept]
    return Examples(texts=[split.texts[row] for row in kept], labels=labels)


def limit_length(
    name: str, sequences: RaggedArray, config: DataConfig, notes: list[str], *, markers: int
) -> tuple[RaggedArray, Ints]:
    """Apply `data.too_long`; `markers` tokens of a sequence are no text. Returns the sequences and which were kept."""
    lengths = sequences.lengths - markers
    long = lengths > config.max_length
    rows = np.arange(len(sequences))
    if not long.any():
        return sequences, rows
    if config.too_long in ("auto", "error"):
        row = int(long.argmax())
        raise UserError(
            f"{name} row {row + 1}: {lengths[row]} tokens, more than data.max_length={config.max_length} ({long.sum()} "
            f"such rows, the longest {lengths.max()}); raise data.max_length, or set data.too_long=truncate or drop"
        )
    notes.append(f"{name}: {long.sum()} sequences over {config.max_length} tokens: {config.too_long} (data.too_long)")
    if config.too_long == "truncate":
        stops = np.minimum(sequences.offsets[1:], sequences.offsets[:-1] + config.max_length + markers)
        return slices(sequences.values, sequences.offsets[:-1], stops), rows
    if long.all():
        raise UserError(f"{name}: every row is longer than data.max_length={config.max_length}; nothing is left")
    return sequences.take(rows[~long]), rows[~long]
