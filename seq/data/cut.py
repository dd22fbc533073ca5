"""From texts to sequences of token ids: documents are cut into the sequences of a language model, and long sequences are limited.

A document is the stream BOS, tokens, EOS. It is cut after lines or paragraphs, and where a part is longer than
`max_length`. Each sequence begins with the token before its first target. So every token but BOS is predicted exactly
once, and a sequence that begins in the middle of a text knows the token before it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seq.config import DataConfig
from seq.data.ragged import (
    BLOCK,
    Ints,
    RaggedArray,
    RaggedWriter,
    new_array,
    release,
    slices,
    smallest_dtype,
)
from seq.data.texts import Text, batches_of, blocks_of
from seq.data.tokenizer import BOS, EOS, Tokenizer
from seq.errors import UserError

SMALL_PIECE = 1000
"""Minimum number of tokens in a validation piece, because it begins without context."""
Unit = Literal["line", "paragraph", "document", "chunk"]


def frame(texts: RaggedArray) -> RaggedArray:
    """BOS and EOS around each text."""
    offsets = texts.offsets + 2 * np.arange(len(texts) + 1)
    values = new_array(int(offsets[-1]), texts.values.dtype)
    for first in range(0, len(texts), BLOCK):
        own, framed = texts.offsets[first : first + BLOCK + 1], offsets[first : first + BLOCK + 1]
        part = values[framed[0] : framed[-1]]
        edges = np.concatenate((framed[:-1], framed[1:] - 1)) - framed[0]
        inside = np.ones(len(part), bool)
        inside[edges] = False
        part[inside] = texts.values[own[0] : own[-1]]
        part[edges] = np.repeat((BOS, EOS), len(own) - 1)
        release(values)
        release(texts.values)
    return RaggedArray(values, offsets)


def cut_streams(streams: RaggedArray, unit: Unit, newline: int) -> RaggedArray:
    """Sequences of one token of context and the targets of one unit. `newline`: the token id of a line feed."""
    if unit in ("document", "chunk"):
        return streams
    writer, start = RaggedWriter(streams.values.dtype), 0
    for ends in _unit_ends(streams, unit, newline):
        starts = np.concatenate(([start], ends[:-1]))
        # The context is the token before; a document's first sequence begins with BOS, which is its own first token.
        is_first = streams.offsets[np.searchsorted(streams.offsets, starts)] == starts
        writer.add(slices(streams.values, starts - ~is_first, ends))
        start = ends[-1]
    return writer.close()


def split_long(sequences: RaggedArray, max_length: int) -> RaggedArray:
    """Continue a sequence in a new one after `max_length` targets. The last token of each is the context of the next."""
    writer = RaggedWriter(sequences.values.dtype)
    for first in range(0, len(sequences), BLOCK):
        offsets = sequences.offsets[first : first + BLOCK + 1]
        parts = -(-(np.diff(offsets) - 1) // max_length)
        number = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
        starts = np.repeat(offsets[:-1], parts) + number * max_length
        stops = np.minimum(starts + max_length + 1, np.repeat(offsets[1:], parts))
        writer.add(slices(sequences.values, starts, stops))
    return writer.close()


def split_evenly(sequences: RaggedArray, max_length: int) -> RaggedArray:
    """Cut each sequence into the fewest parts of at most `max_length` tokens. The lengths of its parts differ by at most one."""
    lengths = sequences.lengths
    parts = -(-lengths // max_length)
    number = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
    start, length, count = (np.repeat(array, parts) for array in (sequences.offsets[:-1], lengths, parts))
    return slices(sequences.values, start + number * length // count, start + (number + 1) * length // count)


def limit_length(
    sequences: RaggedArray,
    name: str,
    where: Callable[[int], str],
    config: DataConfig,
    notes: list[str],
    *,
    markers: int,
) -> tuple[RaggedArray, Ints]:
    """Apply `data.too_long`, for all its values but `split`, to the sequences of the split `name`. `markers` tokens of each are not text;
    `where` names a sequence in messages. Returns the sequences, and the places of those that were kept."""
    lengths = sequences.lengths - markers
    long = lengths > config.max_length
    places = np.arange(len(sequences))
    if not long.any():
        return sequences, places
    if config.too_long in ("auto", "error"):
        first = int(long.argmax())
        raise UserError(
            f"{where(first)}: {lengths[first]} tokens, more than data.max_length={config.max_length} "
            f"({long.sum()} such rows, the longest {lengths.max()}); raise data.max_length, or set "
            "data.too_long=truncate or drop"
        )
    notes.append(f"{name}: {long.sum()} sequences over {config.max_length} tokens: {config.too_long} (data.too_long)")
    if config.too_long == "truncate":
        stops = np.minimum(sequences.offsets[1:], sequences.offsets[:-1] + config.max_length + markers)
        return slices(sequences.values, sequences.offsets[:-1], stops), places
    if long.all():
        raise UserError(f"{name}: every row is longer than data.max_length={config.max_length}; nothing is left")
    return sequences.take(places[~long]), places[~long]


def newline_id(tokenizer: Tokenizer) -> int:
    """The token of a line feed; -1 where the vocabulary has none."""
    return -1 if tokenizer.unknown("\n") else int(tokenizer.encode(["\n"]).values[0])


def unit_end(unit: Unit, newline: int) -> list[int]:
    """The tokens that end a unit; empty for units without such tokens."""
    return [newline] * {"line": 1, "paragraph": 2, "document": 0, "chunk": 0}[unit] * (newline >= 0)


def _unit_ends(streams: RaggedArray, unit: Unit, newline: int) -> Iterator[Ints]:
    """Positions just after each line or paragraph (a run of at least two line feeds belongs to the paragraph
    before), but not just before EOS, which belongs to the last one. Some of them at a time, in rising order."""
    for start in range(0, len(streams.values), BLOCK):
        inside = np.searchsorted(streams.offsets, (start, start + BLOCK), side="right")
        ends = _ends_in_block(streams.values, start, newline, paragraph=unit == "paragraph")
        if len(found := np.union1d(ends, streams.offsets[slice(*inside)])):
            yield found


def _ends_in_block(stream: Ints, start: int, newline: int, *, paragraph: bool) -> NDArray[np.int64]:
    before = min(1, start)
    tokens = np.asarray(stream[start - before : start + BLOCK + 1])
    following = np.append(tokens[1:], EOS)
    ends = (tokens == newline) & (following != EOS)
    if paragraph:
        ends &= (following != newline) & np.concatenate(([False], tokens[:-1] == newline))
    found: NDArray[np.int64] = np.flatnonzero(ends[before : before + BLOCK]) + start + 1
    release(stream)
    return found


def encode_documents(texts: Iterable[Text], tokenizer: Tokenizer) -> RaggedArray:
    """BOS, the token ids and EOS of each text."""
    writer = RaggedWriter(smallest_dtype(tokenizer.vocab_size))
    for text in texts:
        ids = (tokenizer.encode([block]).values for block in blocks_of([text]))
        size = sum(writer.write(part) for part in chain([np.array([BOS])], ids, [np.array([EOS])]))
        writer.end(np.array([size]))
    return writer.close()


def encode_texts(texts: Sequence[Text], tokenizer: Tokenizer) -> RaggedArray:
    """The token ids of each text, without markers."""
    writer = RaggedWriter(smallest_dtype(tokenizer.vocab_size))
    for batch in batches_of(texts):
        writer.add(tokenizer.encode(batch))
    return writer.close()


def cut_documents(
    documents: Mapping[str, RaggedArray], config: DataConfig, tokenizer: Tokenizer, notes: list[str]
) -> dict[str, RaggedArray]:
    """The sequences of each split, from framed documents. If there is no validation split, pieces of the training text are used."""
    newline = newline_id(tokenizer)
    validates = config.validation_fraction and not config.train_on_validation
    if validates and "train" in documents and "validation" not in documents:
        documents = {**documents, **cut_pieces(documents["train"], config, newline, notes)}
    return {
        name: _training_sequences(whole, config, newline, notes)
        if name == "train"
        else _evaluated(whole, config, newline)
        for name, whole in documents.items()
    }


def cut_pieces(documents: RaggedArray, config: DataConfig, newline: int, notes: list[str]) -> dict[str, RaggedArray]:
    """Pieces of the text, spread over it, become the validation split. Each sequence of either split has the token before its
    first target as context."""
    total = int((documents.lengths - 1).sum())
    if total < 2:
        notes.append("validation: none, because the text has only one token; give data.files.validation")
        return {"train": documents}
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
    """Extend pieces (begin, end, begin, end, ...) to whole units (to paragraphs, if units are longer). Return them unchanged if a piece
    would become more than twice as long."""
    unit = config.unit if config.unit in ("line", "paragraph") else "paragraph"
    before, after, passed = np.zeros_like(bounds), np.zeros_like(bounds), np.zeros(len(bounds), bool)
    for ends in _unit_ends(documents, unit, newline):
        # Counted in targets: the first token of a document is none.
        ends = ends - np.searchsorted(documents.offsets, ends - 1, side="right")
        place = np.searchsorted(ends, bounds, side="right")
        before = np.where(place > 0, ends[place - 1], before)
        place = np.searchsorted(ends, bounds)
        after = np.where(~passed & (place < len(ends)), ends[place.clip(max=len(ends) - 1)], after)
        passed |= place < len(ends)
    whole = np.where(np.arange(len(bounds)) % 2 == 0, before, after)
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
    """Cut documents as in training, so that each sequence begins with the same state as there, but leave out no token."""
    if config.reads_whole_documents:
        return split_long(documents, config.evaluation_max_length)
    return split_long(cut_streams(documents, config.unit, newline), config.max_length)


def _training_sequences(documents: RaggedArray, config: DataConfig, newline: int, notes: list[str]) -> RaggedArray:
    units = cut_streams(documents, config.unit, newline)
    if config.unit == "document" and config.too_long == "auto":
        return units
    if config.unit == "chunk" or config.too_long in ("auto", "split"):
        return split_long(units, config.max_length)
    return limit_length(units, "train", lambda place: f"train row {place + 1}", config, notes, markers=1)[0]
