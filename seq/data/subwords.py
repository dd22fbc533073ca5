"""Words and subwords, by the library `tokenizers`: pieces of text that are spelled in bytes where the vocabulary lacks them.

Both kinds are byte-level BPE models, so nothing is unknown and every text comes back as it was. `subwords` are learned by
merging the most frequent neighbours (Sennrich, Haddow and Birch, 2016); `words` are the most frequent words themselves.
"""

import json
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
from tokenizers import Regex
from tokenizers import Tokenizer as Library
from tokenizers.models import BPE, WordLevel
from tokenizers.pre_tokenizers import ByteLevel, Split
from tokenizers.pre_tokenizers import Sequence as InTurn
from tokenizers.trainers import BpeTrainer, WordLevelTrainer

from seq.data.ragged import Ints, RaggedArray

PART = 1 << 16
"""Characters of a long text that one thread of the library reads; cut after a line feed, which is always a token of its own."""


class Subwords:
    """A vocabulary; `model` is the library's JSON. Ids begin at 0. KeyError, TypeError, ValueError or AttributeError where
    `model` is not what this class wrote."""

    def __init__(self, model: str) -> None:
        self.model, self._library = model, _new(_pieces_and_merges(model))

    @classmethod
    def train_subwords(cls, texts: Iterable[str], *, size: int, min_count: int) -> "Subwords":
        library = _new(BPE())
        trainer = BpeTrainer(
            vocab_size=max(size, 256), min_frequency=min_count, initial_alphabet=sorted(_BYTES), show_progress=False
        )
        library.train_from_iterator((part for text in texts for part in _parts(text)), trainer)
        return cls(library.to_str())

    @classmethod
    def train_words(cls, texts: Iterable[str], *, size: int, min_count: int) -> "Subwords":
        library = Library(WordLevel())
        library.pre_tokenizer = _splitter()
        trainer = WordLevelTrainer(vocab_size=size, min_frequency=min_count, show_progress=False)
        library.train_from_iterator((part for text in texts for part in _parts(text)), trainer)
        # By number of occurrences, and words with as many by the alphabet.
        words = sorted(library.get_vocab(with_added_tokens=False).items(), key=lambda item: item[1])
        alphabet = sorted(_BYTES)
        known = [word for word, _ in words if len(word) > 1]
        vocabulary = {word: place for place, word in enumerate([*alphabet, *known[: max(0, size - len(alphabet))]])}
        return cls(_new(BPE(vocab=vocabulary, merges=[], ignore_merges=True)).to_str())

    def __len__(self) -> int:
        return self._library.get_vocab_size()

    def encode(self, texts: Sequence[str]) -> RaggedArray:
        """The ids of each text."""
        parts = [list(_parts(text)) for text in texts]
        encoded = self._library.encode_batch([part for own in parts for part in own])
        ids = [np.array(part.ids, np.int64) for part in encoded]
        lengths = np.array([len(part) for part in ids], np.int64)
        values = np.concatenate(ids) if ids else np.empty(0, np.int64)
        ends = np.concatenate(([0], np.cumsum(lengths)))
        return RaggedArray(values, ends[np.concatenate(([0], np.cumsum([len(own) for own in parts], dtype=np.int64)))])

    def longest(self, number: int) -> list[str]:
        """Some of the longest pieces, for display."""
        return [piece.decode("utf-8", "replace") for piece in sorted(self.bytes_of, key=len, reverse=True)[:number]]

    @cached_property
    def bytes_of(self) -> list[bytes]:
        """The bytes of each id."""
        tokens = sorted(self._library.get_vocab().items(), key=lambda item: item[1])
        return [bytes(_BYTES[letter] for letter in token) for token, _ in tokens]

    @cached_property
    def characters_of(self) -> Ints:
        """How many characters begin in each id."""
        return np.array([sum(byte & 0xC0 != 0x80 for byte in piece) for piece in self.bytes_of])


def _pieces_and_merges(model: str) -> BPE:
    """Read nothing else from the JSON: it may come from an untrusted source, and its patterns could run forever or name other files."""
    about = json.loads(model)["model"]
    pieces, merges = about["vocab"], [tuple(pair) for pair in about["merges"]]
    if sorted(pieces.values()) != list(range(len(pieces))):
        raise ValueError("the ids of its subwords are not 0, 1, 2 and so on")
    if set("".join(pieces)) != set(_BYTES) or not set(_BYTES) <= set(pieces):
        raise ValueError("its subwords are not spelled in bytes")
    try:
        return BPE(vocab=pieces, merges=merges, ignore_merges=about["ignore_merges"])
    except Exception as error:  # the library has no kind of its own
        raise ValueError(str(error)) from None


def _new(model: BPE) -> Library:
    library = Library(model)
    library.pre_tokenizer = _splitter()
    return library


def _splitter() -> InTurn:
    """Line feeds and separators of columns, words with the space before them, numbers, and signs."""
    return InTurn([Split(Regex("[\n\x1f]"), "isolated"), ByteLevel(add_prefix_space=False, use_regex=True)])


def _parts(text: str) -> Iterable[str]:
    text = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    begin = 0
    while len(text) - begin > PART and (end := text.rfind("\n", begin, begin + PART) + 1):
        yield text[begin:end]
        begin = end
    yield text[begin:]


def _byte_letters() -> dict[str, int]:
    """The character that the library writes for each byte: the byte itself if it is printable, else the next one from 256 on."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    unseen = [byte for byte in range(256) if byte not in seen]
    return {chr(byte): byte for byte in seen} | {chr(256 + place): byte for place, byte in enumerate(unseen)}


_BYTES = _byte_letters()
