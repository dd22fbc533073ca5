"""The texts of a split. They lie in files, since they may be larger than the memory."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from seq.data.progress import advance
from seq.data.ragged import BLOCK, RaggedArray, RaggedWriter, release
from seq.data.text_files import TextFile

Text = str | TextFile
"""A row, or a whole file, which is one document of a language model."""


@dataclass(frozen=True)
class Texts(Sequence[str]):
    """A list of texts, whose UTF-8 is in one array. A slice of it is a list of strings; it is read batch by batch."""

    encoded: RaggedArray

    def __len__(self) -> int:
        return len(self.encoded)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return self._decode(*place.indices(len(self))[:2])
        return self._decode(place, place + 1)[0] if place >= 0 else self[place + len(self)]

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(self.batches())

    def batches(self) -> Iterator[list[str]]:
        """The texts, many at a time."""
        offsets, first = self.encoded.offsets, 0
        while first < len(self):
            end = int(np.searchsorted(offsets, offsets[first] + BLOCK, side="right")) - 1
            last = min(max(first + 1, end), first + BLOCK)
            yield self._decode(first, last)
            advance(int(offsets[last] - offsets[first]))
            release(self.encoded.values)
            release(offsets)
            first = last

    def take(self, places: NDArray[np.integer[Any]]) -> "Texts":
        writer = RaggedWriter(self.encoded.values.dtype)
        for first in range(0, len(places), BLOCK):
            writer.add(self.encoded.take(places[first : first + BLOCK]))
        return Texts(writer.close())

    def followed_by(self, other: "Texts") -> "Texts":
        writer = TextWriter()
        for batch in chain(self.batches(), other.batches()):
            writer.extend(batch)
        return writer.close()

    def _decode(self, first: int, last: int) -> list[str]:
        bounds = self.encoded.offsets[first : last + 1]
        whole = self.encoded.values[bounds[0] : bounds[-1]].tobytes()
        inside = pairwise((bounds - bounds[0]).tolist())
        if whole.isascii():
            text = whole.decode("ascii")
            return [text[start:stop] for start, stop in inside]
        return [whole[start:stop].decode("utf-8", "surrogatepass") for start, stop in inside]


class TextWriter:
    """Makes `Texts`, batch by batch."""

    def __init__(self) -> None:
        self._writer = RaggedWriter(np.dtype(np.uint8))

    def extend(self, texts: Iterable[str]) -> None:
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        self._writer.write(np.frombuffer(b"".join(encoded), np.uint8))
        self._writer.end(np.fromiter(map(len, encoded), np.int64, len(encoded)))

    def close(self) -> Texts:
        return Texts(self._writer.close())


def batches_of(texts: Sequence[Text]) -> Iterator[list[str]]:
    """The texts, many at a time if they are in a file."""
    if isinstance(texts, Texts):
        return texts.batches()
    return iter([[text if isinstance(text, str) else "".join(text.blocks()) for text in texts]])


def blocks_of(texts: Iterable[Text]) -> Iterator[str]:
    """The texts one after the other; one that is a file in several blocks."""
    for text in texts:
        if isinstance(text, str):
            yield text
        else:
            yield from text.blocks()


def size_of(texts: Sequence[Text]) -> int:
    """Bytes of all texts."""
    if isinstance(texts, Texts):
        return len(texts.encoded.values)
    return sum(len(text) if isinstance(text, str) else text.path.stat().st_size for text in texts)
