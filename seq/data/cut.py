"""Cut documents into the sequences of a language model.

A document is the stream BOS, tokens, EOS. It is cut after lines or paragraphs, and wherever a part is longer than
`max_length`. Each sequence carries one token in front, the one before its first target; so every token but BOS is
predicted exactly once, and a sequence that begins in the middle of a text knows what it follows.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seq.data.ragged import Ints, RaggedArray, slices
from seq.data.tokenizer import EOS, Tokenizer

Unit = Literal["line", "paragraph", "document", "window"]


def cut_streams(streams: RaggedArray, unit: Unit, newline: int) -> RaggedArray:
    """Sequences of one token of context and the targets of one unit. `newline`: the token id of a line feed."""
    ends = np.union1d(_unit_ends(streams.values, unit, newline), streams.offsets[1:])
    starts = np.concatenate(([0], ends[:-1]))
    # The context is the token before; a document's first sequence has BOS, its own first token.
    context = np.where(np.isin(starts, streams.offsets), starts, starts - 1)
    return slices(streams.values, context, ends)


def split_long(sequences: RaggedArray, max_length: int) -> RaggedArray:
    """Go on in a further sequence after `max_length` targets; the last token of one is the context of the next."""
    targets = sequences.lengths - 1
    pieces = -(-targets // max_length)
    piece = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    starts = np.repeat(sequences.offsets[:-1], pieces) + piece * max_length
    stops = np.minimum(starts + max_length + 1, np.repeat(sequences.offsets[1:], pieces))
    return slices(sequences.values, starts, stops)


def newline_id(tokenizer: Tokenizer) -> int:
    """The token of a line feed; -1 where the vocabulary has none."""
    return -1 if tokenizer.unknown("\n") else int(tokenizer.encode(["\n"]).values[0])


def unit_end(unit: Unit, newline: int) -> list[int]:
    """The tokens with which a unit ends, after which the next sequence begins; none for units without such a mark."""
    return [newline] * {"line": 1, "paragraph": 2, "document": 0, "window": 0}[unit] * (newline >= 0)


def _unit_ends(stream: Ints, unit: Unit, newline: int) -> NDArray[np.int64]:
    """Positions just after each line or paragraph (a run of at least two line feeds belongs to the paragraph
    before), but not just before EOS, which belongs to the last one."""
    if unit in ("document", "window"):
        return np.empty(0, np.int64)
    feed = stream == newline
    if unit == "paragraph":
        after_feed, before_feed = np.roll(feed, 1), np.roll(feed, -1)
        feed = feed & after_feed & ~before_feed
    ends: NDArray[np.int64] = np.flatnonzero(feed[:-1]) + 1  # what ends with the stream, ends anyway
    return np.asarray(ends[stream[ends] != EOS])
