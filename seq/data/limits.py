"""Rows that cannot be used as they are, empty or too long: the config says what happens, and it is counted."""

from collections.abc import Sequence

import numpy as np

from seq.config import DataConfig
from seq.data.examples import Examples
from seq.data.ragged import Ints, RaggedArray, slices
from seq.errors import UserError


def check_split(split: Examples, config: DataConfig, notes: list[str]) -> Examples:
    """Without the rows that have no text. UserError if that is the policy, or if nothing is left."""
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


def limit_length(
    sequences: RaggedArray, origin: str, rows: Sequence[int], config: DataConfig, notes: list[str], *, markers: int
) -> tuple[RaggedArray, Ints]:
    """Apply `data.too_long`; `markers` tokens of a sequence are no text, `rows` their numbers for messages. Returns
    the sequences and which were kept."""
    lengths = sequences.lengths - markers
    long = lengths > config.max_length
    places = np.arange(len(sequences))
    if not long.any():
        return sequences, places
    if config.too_long in ("auto", "error"):
        first = int(long.argmax())
        raise UserError(
            f"{origin} row {rows[first]}: {lengths[first]} tokens, more than data.max_length={config.max_length} "
            f"({long.sum()} such rows, the longest {lengths.max()}); raise data.max_length, or set "
            "data.too_long=truncate or drop"
        )
    notes.append(f"{origin}: {long.sum()} sequences over {config.max_length} tokens: {config.too_long} (data.too_long)")
    if config.too_long == "truncate":
        stops = np.minimum(sequences.offsets[1:], sequences.offsets[:-1] + config.max_length + markers)
        return slices(sequences.values, sequences.offsets[:-1], stops), places
    if long.all():
        raise UserError(f"{origin}: every row is longer than data.max_length={config.max_length}; nothing is left")
    return sequences.take(places[~long]), places[~long]
