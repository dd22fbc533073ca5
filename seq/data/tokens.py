"""Texts of whole tokens, such as words that have tags. A rare token is read by its signature: whether it has a digit or begins with
a capital, and its last letters (Weischedel and others, 1993).

Rare tokens of the training data are read so, too, so that a model learns what signatures say. On the parts of speech of the Brown corpus this
is worth one point of accuracy (benchmarks/LOG.md).
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from seq.data.ragged import RaggedArray

MARK = " "
"""Before a signature in a vocabulary. No token has a space."""
LONGEST_ENDING = 4
MIN_RARE_TOKENS = 10
"""So many different rare tokens must share a signature for it to be in the vocabulary."""


class Tokens:
    """A vocabulary; `model` is a JSON list of tokens and signatures. Ids begin at 0; -1 is a token without a known signature."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.entries = [str(entry) for entry in json.loads(model)]
        self._ids = {entry: place for place, entry in enumerate(self.entries)}

    @classmethod
    def train(cls, texts: Iterable[str], *, size: int, min_count: int) -> "Tokens":
        """The `size` most frequent tokens, without those that occur fewer than `min_count` times, and signatures of all others. With
        `min_count=1` there are no signatures: tokens to write must be tokens."""
        counted = Counter(token for text in texts for token in text.split(" "))
        known = [token for token, count in counted.most_common(size) if count >= min_count]
        rare = counted.keys() - set(known) if min_count > 1 else ()
        shared = Counter(signature for token in rare for signature in signatures(token))
        frequent = sorted(signature for signature, count in shared.items() if count >= MIN_RARE_TOKENS)
        return cls(json.dumps([*known, *frequent]))

    def __len__(self) -> int:
        return len(self.entries)

    def encode(self, texts: Sequence[str]) -> RaggedArray:
        """The ids of each text."""
        return RaggedArray.of([np.array([self._id(token) for token in text.split(" ")], np.int64) for text in texts])

    def _id(self, token: str) -> int:
        if token in self._ids:
            return self._ids[token]
        return next((self._ids[name] for name in signatures(token) if name in self._ids), -1)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`. A signature, and a negative id, gives the replacement character."""
        entries = (self.entries[place] if place >= 0 else MARK for place in ids)
        return " ".join("\ufffd" if entry.startswith(MARK) else entry for entry in entries)

    def unknown(self, text: str) -> list[str]:
        """The tokens of `text` that have no id, each one once."""
        return sorted({token for token in text.split(" ") if self._id(token) < 0})


def signatures(token: str) -> Iterator[str]:
    """The signatures of a token, from the most to the least exact."""
    kind = "0" if any(letter.isdigit() for letter in token) else "A" if token[:1].isupper() else "a"
    for length in range(min(LONGEST_ENDING, len(token) - 1), -1, -1):
        yield f"{MARK}{kind}{token[len(token) - length :].lower()}"


def join_tokens(tokens: Iterable[str]) -> str:
    """Tokens as one text. White space in a token becomes a no-break space, since a space ends it."""
    return " ".join("\u00a0".join(token.split()) or "\u00a0" for token in tokens)


def split_tokens(text: str) -> list[str]:
    """The tokens of a text, however many spaces, tabs or line feeds are between them."""
    return [token for token in re.split(r"[ \t\r\n]+", text) if token]
