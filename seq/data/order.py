"""The order of a split's sequences: by length, and shuffled without an array of the split's size."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from seq.data.ragged import Ints, smallest_dtype

Words = NDArray[np.uint64]
_ROUNDS = 6


@dataclass(frozen=True)
class LengthOrder:
    """All sequences of a split, the longest first, in G length groups. Only the histogram is in memory; `order` may be
    a mapped file."""

    length: Ints
    """(G,) time steps of each length group, falling."""
    start: Ints
    """(G + 1,) the position at which each length group begins; the last is the number of sequences."""
    order: Ints
    """(n,) the sequence (row of the data set) at each position; within a group, in the order of the data set."""

    @classmethod
    def of(cls, lengths: Ints) -> Self:
        """`lengths` (n,): time steps of each sequence, n >= 1."""
        order = np.argsort(-lengths.astype(np.int64), kind="stable")
        distinct, counts = np.unique(lengths, return_counts=True)
        start = np.concatenate(([0], np.cumsum(counts[::-1])))
        return cls(distinct[::-1].astype(np.int64), start, order.astype(smallest_dtype(len(order))))

    def __len__(self) -> int:
        return int(self.start[-1])

    def save(self, stem: Path) -> None:
        """Write `<stem>.length.npy`, `<stem>.start.npy` and `<stem>.order.npy`."""
        for part in ("length", "start", "order"):
            np.save(f"{stem}.{part}.npy", getattr(self, part))

    @classmethod
    def open(cls, stem: Path) -> Self:
        """Read the histogram and map the order: ranks share its pages, and a step reads only its own rows."""
        length, start = (np.load(f"{stem}.{part}.npy") for part in ("length", "start"))
        return cls(length, start, np.asarray(np.load(f"{stem}.order.npy", mmap_mode="r")))


def permute(places: NDArray[np.int64], size: NDArray[np.int64] | int, seed: Words | int) -> NDArray[np.int64]:
    """The position of each of `places` (in [0, size)) after a shuffle of `size` things; `seed` selects the shuffle. `size`
    and `seed` may be arrays, one value for each place. O(len(places)) time and memory.

    A Feistel network over a rectangle of at least `size` cells (Black and Rogaway, Ciphers with Arbitrary Finite
    Domains, 2002): each round adds to one coordinate a hash of the other, which is a bijection. Places that land
    outside [0, size) follow their cycle until they are inside.
    """
    result, sizes, seeds = (np.broadcast_to(part, len(places)).astype(np.uint64) for part in (places, size, seed))
    width = np.ceil(np.sqrt(sizes)).astype(np.uint64)
    height = (sizes + width - np.uint64(1)) // width
    outside = np.arange(len(result))
    while len(outside):
        result[outside] = _rounds(result[outside], height[outside], width[outside], seeds[outside])
        outside = outside[result[outside] >= sizes[outside]]
    return result.astype(np.int64)


def _rounds(cells: Words, height: Words, width: Words, seeds: Words) -> Words:
    row, column = np.divmod(cells, width)
    for round_ in range(_ROUNDS):
        key = seeds + np.uint64(0x9E3779B97F4A7C15 * (round_ + 1) % 2**64)
        if round_ % 2:
            row = (row + _hash(column, key) % height) % height
        else:
            column = (column + _hash(row, key) % width) % width
    return row * width + column


def _hash(values: Words, keys: Words) -> Words:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): every input bit affects every output bit."""
    mixed = (values + np.uint64(1)) * np.uint64(0xBF58476D1CE4E5B9) ^ keys
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
