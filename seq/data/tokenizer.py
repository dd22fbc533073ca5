"""Text to token ids and back: bytes, characters, words, subwords or tokens, with four reserved ids in front."""

import codecs
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from seq.data.ragged import BLOCK, Ints, RaggedArray, smallest_dtype
from seq.data.subwords import Subwords
from seq.data.tokens import Tokens

PAD, BOS, EOS, UNKNOWN = 0, 1, 2, 3
"""Ids of padding, begin, end, and characters that the vocabulary lacks. Tokens of text follow from RESERVED on."""
RESERVED = 4
LONG = 256
"""Characters of a text to which no further ones are joined."""
UNKNOWN_SHARE = 0.01
"""The largest share of the training text that `min_count` may make unknown."""


Kind = Literal["bytes", "characters", "words", "subwords", "tokens"]
LEARN: dict[Kind, Callable[..., Subwords | Tokens]] = {
    "words": Subwords.train_words,
    "subwords": Subwords.train_subwords,
    "tokens": Tokens.train,
}


@dataclass(frozen=True, kw_only=True)
class Tokenizer:
    """`kind="bytes"`: id = byte + 4. `kind="characters"`: id = place in `characters` + 4, else UNKNOWN. `kind="words"` and
    `"subwords"`: id = place in the vocabulary of `model` + 4, see `seq.data.subwords`. `kind="tokens"`: a text is tokens with a
    space between them; id = place in the vocabulary of `model` + 4, else UNKNOWN, see `seq.data.tokens`."""

    kind: Kind
    characters: str = ""
    lowercase: bool = False
    model: str = ""

    @classmethod
    def train(
        cls, kind: Kind, texts: Iterable[str], *, lowercase: bool, min_count: int, vocab_size: int = 8000
    ) -> "Tokenizer":
        """The vocabulary of `texts`: characters, by code point, or pieces that occur at least `min_count` times; of words,
        subwords and tokens at most `vocab_size`."""
        if kind == "bytes":
            return cls(kind=kind, lowercase=lowercase)
        if kind != "characters":
            texts = (text.lower() for text in texts) if lowercase else texts
            model = LEARN[kind](texts, size=vocab_size, min_count=min_count).model
            return cls(kind=kind, lowercase=lowercase, model=model)
        points, counts = _count_code_points(texts, lowercase)
        letters = points[counts >= _least_count(counts, min_count)]
        return cls(kind=kind, characters="".join(map(chr, letters)), lowercase=lowercase)

    @property
    def vocab_size(self) -> int:
        if self._vocabulary is not None:
            return RESERVED + len(self._vocabulary)
        return RESERVED + (256 if self.kind == "bytes" else len(self.characters))

    @cached_property
    def subwords(self) -> Subwords | None:
        """The vocabulary of words or subwords; None for the other kinds."""
        return Subwords(self.model) if self.kind in ("words", "subwords") else None

    @cached_property
    def tokens(self) -> Tokens | None:
        """The vocabulary of tokens; None for the other kinds."""
        return Tokens(self.model) if self.kind == "tokens" else None

    @property
    def _vocabulary(self) -> Subwords | Tokens | None:
        return self.subwords if self.tokens is None else self.tokens

    def encode(self, texts: Sequence[str]) -> RaggedArray:
        """The ids of each text, without markers."""
        texts = [text.lower() for text in texts] if self.lowercase else texts
        if self._vocabulary is not None:
            pieces = self._vocabulary.encode(texts)
            return RaggedArray(pieces.values + RESERVED, pieces.offsets)
        if self.kind == "bytes":
            encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
            lengths = [len(text) for text in encoded]
            values: Ints = np.frombuffer(b"".join(encoded), np.uint8).astype(np.uint16) + RESERVED
        else:
            lengths = [len(text) for text in texts]
            blocks = [self._ids[_code_points(block)] for block in _blocks(texts)]
            values = np.concatenate(blocks or [np.empty(0, np.int64)])
        return RaggedArray(values, np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))))

    def decode(self, ids: Iterable[int]) -> str:
        """Text of `ids`. Markers give no text; UNKNOWN and broken UTF-8 give the replacement character."""
        text = [int(token) for token in ids if token >= UNKNOWN]
        if self.subwords is not None:
            known = self.subwords.bytes_of
            return b"".join(known[token - RESERVED] for token in text if token >= RESERVED).decode("utf-8", "replace")
        if self.tokens is not None:
            return self.tokens.decode(token - RESERVED for token in text)
        if self.kind == "bytes":
            return bytes(token - RESERVED for token in text if token >= RESERVED).decode("utf-8", "replace")
        return "".join(self.characters[token - RESERVED] if token >= RESERVED else "\ufffd" for token in text)

    def decode_each(self, ids: Iterable[int]) -> Iterator[str]:
        """The text that each of `ids` adds: nothing while a character of several bytes is incomplete."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for token in ids:
            if self.kind == "characters":
                yield self.decode([token])
            elif token >= RESERVED:
                place = token - RESERVED
                yield decoder.decode(bytes([place]) if self.subwords is None else self.subwords.bytes_of[place])
        yield decoder.decode(b"", final=True)

    def count_characters(self, ids: Ints) -> int:
        """Characters that `ids` stand for: no markers, and no continuation bytes (10xxxxxx) of UTF-8."""
        text = ids[ids >= UNKNOWN]
        if self.subwords is not None:
            return int(self.subwords.characters_of[text[text >= RESERVED] - RESERVED].sum())
        if self.kind == "bytes":
            text = text[(text - RESERVED) & 0xC0 != 0x80]
        return len(text)

    def unknown(self, text: str) -> list[str]:
        """The characters of `text` that the vocabulary lacks, each one once."""
        text = text.lower() if self.lowercase else text
        if self.tokens is not None:
            return self.tokens.unknown(text)
        return [] if self.kind != "characters" else sorted(set(text) - set(self.characters))

    @cached_property
    def _ids(self) -> Ints:
        """A table from code point to id, so that one indexing encodes a whole corpus."""
        table = np.full(0x110000, UNKNOWN, smallest_dtype(self.vocab_size))
        table[_code_points(self.characters)] = np.arange(RESERVED, self.vocab_size)
        return table

    def to_dict(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON."""
        about = {"kind": self.kind, "characters": self.characters, "lowercase": self.lowercase}
        return about | {"model": self.model} if self.model else about

    def describe(self) -> str:
        """A description of the vocabulary, for display."""
        if self.kind == "characters":
            return f"{len(self.characters)} characters"
        return "256 bytes" if self._vocabulary is None else f"{len(self._vocabulary)} {self.kind}"


def _count_code_points(texts: Iterable[str], lowercase: bool) -> tuple[Ints, Ints]:
    """The code points of the texts, in their order, and how often each occurs."""
    total = np.zeros(0x110000, np.int64)
    for block in _blocks(texts):
        counts = np.bincount(_code_points(block.lower() if lowercase else block))
        total[: len(counts)] += counts
    found = np.flatnonzero(total)
    return found, total[found]


def _blocks(texts: Iterable[str]) -> Iterator[str]:
    """The texts, some thousands of them together, or one of them in parts."""
    held = list[str]()
    for text in texts:
        held.append(text)
        if len(held) == BLOCK // LONG or len(text) > LONG:
            joined = "".join(held)
            yield from (joined[first : first + BLOCK] for first in range(0, len(joined), BLOCK))
            held = []
    yield "".join(held)


def _least_count(counts: Ints, min_count: int) -> int:
    """`min_count`, or less where more than UNKNOWN_SHARE of the text would be unknown: a short text has many rare characters."""
    most = UNKNOWN_SHARE * counts.sum()
    return next((least for least in range(min_count, 1, -1) if counts[counts < least].sum() <= most), 1)


def refuse_list_as_text(text: str, instead: str, *, numbers: bool = False) -> None:
    """ValueError if a cell of a table looks like a list that a program wrote as text, such as `['a', 'b']`; or like one of `numbers`, `[3, 0]`.
    `instead`: what to write."""
    inside = re.fullmatch(r"\s*[\[(](.*)[\])]\s*", text, re.DOTALL)
    if inside is None:
        return
    # Each part is matched once and for all (`++`, `*+`, `(?>`), so the time is linear in the length of the text.
    kinds = r"\d++|" * numbers + r"'(?:[^'\\]|\\.)*+'|\"(?:[^\"\\]|\\.)*+\""
    if re.fullmatch(rf"\s*+(?>(?:{kinds})\s*+,?\s*+)*+", inside[1], re.DOTALL):
        raise ValueError(f"holds {text[:60]!r}, a list written as text; use JSON lines, or {instead}")


def _code_points(text: str) -> Ints:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
