"""The order of a split's sequences: by length, and shuffled without an array of the split's size."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from seq.data.ragged import Ints, smallest_dtype

Words = NDArray[np.uint64]
_ROUNDS = 6
EXACT = 256
"""Up to this many things, all permutations are equally likely."""


@dataclass(frozen=True)
class LengthOrder:
    """All sequences of a split, the longest first, in G length groups. Only the histogram is in memory; `order` may be
    a mapped file.

    A sequence may be a pair, of a source and a target: then its group has the same two lengths. Pairs are in the order of the
    source's length. Among pairs of equal source length, the target's length falls; for the next shorter source length it rises, and so
    on alternately, so that neighbours are similar in both.
    """

    lengths: Ints
    """(G, D) time steps of a sequence of each length group; D = 2 for pairs, else 1."""
    start: Ints
    """(G + 1,) the position at which each length group begins; the last is the number of sequences."""
    order: Ints
    """(n,) the sequence (row of the data set) at each position; within a group, in the order of the data set."""

    @classmethod
    def of(cls, lengths: Ints) -> Self:
        """`lengths` (n,) or (n, 2): time steps of each sequence, n >= 1."""
        first, last = (lengths, None) if lengths.ndim == 1 else lengths.astype(np.int64).T
        # A number for each pair of lengths, which rises in the order wanted; a stable sort of small numbers counts them.
        keys = int(first.max()) - first.astype(smallest_dtype(int(first.max())))
        if last is not None:
            highest = int(last.max())
            falls = np.bincount(first).astype(bool).cumsum() % 2 == 1  # by the source's length
            keys = keys.astype(np.int64) * (highest + 1) + np.where(falls[first], highest - last, last)
            keys = keys.astype(smallest_dtype(int(keys.max())))
        order = np.argsort(keys, kind="stable").astype(smallest_dtype(len(keys)))
        keys = keys[order]
        start = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1], [True])))
        return cls(lengths[order[start[:-1]]].astype(np.int64).reshape(len(start) - 1, -1), start, order)

    def __len__(self) -> int:
        return int(self.start[-1])

    @cached_property
    def length(self) -> Ints:
        """(G,) time steps of each group, of source and target together."""
        return np.asarray(self.lengths.sum(1))

    def group_of(self, positions: NDArray[np.int64] | int) -> NDArray[np.int64]:
        places: NDArray[np.int64] = np.searchsorted(self.start, positions, side="right") - 1
        return places

    def longest(self, start: int, stop: int) -> tuple[int, ...]:
        """The (D,) time steps that the positions `start` to `stop - 1` are padded to; there is at least one."""
        first, last = int(self.group_of(start)), int(self.group_of(stop - 1))
        if self.lengths.shape[1] == 1:
            return (int(self.lengths[first, 0]),)
        return tuple(self.lengths[first : last + 1].max(0).tolist())

    @classmethod
    def open(cls, stem: Path) -> Self:
        """Read the histogram, `<stem>.lengths.npy` and `<stem>.start.npy`, and map `<stem>.order.npy`: ranks share its pages, and a step reads only its own rows."""
        lengths, start = (np.load(f"{stem}.{part}.npy") for part in ("lengths", "start"))
        return cls(lengths, start, np.asarray(np.load(f"{stem}.order.npy", mmap_mode="r")))


def permute(places: NDArray[np.int64], size: NDArray[np.int64] | int, seed: Words | int) -> NDArray[np.int64]:
    """The position of each of `places` (in [0, size)) after a shuffle of `size` things; `seed` selects the shuffle. `size`
    and `seed` may be arrays, one value for each place. O(len(places)) time and memory.

    Up to `EXACT` things are sorted by random keys. Of more, a Feistel network over a rectangle of at least `size` cells (Black and Rogaway, Ciphers with Arbitrary Finite
    Domains, 2002): each round adds to one coordinate a hash of the other, which is a bijection. Places that land
    outside [0, size) follow their cycle until they are inside.
    """
    result, sizes, seeds = (np.broadcast_to(part, len(places)).astype(np.uint64) for part in (places, size, seed))
    few = sizes <= EXACT
    if few.any():
        result[few] = _sorted_by_keys(result[few], sizes[few], seeds[few])
    width = np.ceil(np.sqrt(sizes)).astype(np.uint64)
    height = (sizes + width - np.uint64(1)) // width
    outside = np.flatnonzero(~few)
    while len(outside):
        result[outside] = _rounds(result[outside], height[outside], width[outside], seeds[outside])
        outside = outside[result[outside] >= sizes[outside]]
    return result.astype(np.int64)


def _sorted_by_keys(places: Words, sizes: Words, seeds: Words) -> Words:
    """The position of each place when the 0 to size - 1 of each (size, seed) are sorted by a hash of their number."""
    shuffles, own = np.unique(np.column_stack((sizes, seeds)), axis=0, return_inverse=True)
    counts = shuffles[:, 0].astype(np.int64)
    start = np.cumsum(counts) - counts
    shuffle = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(counts.sum()) - start[shuffle]
    order = np.lexsort((_hash(number.astype(np.uint64), shuffles[shuffle, 1]), shuffle))
    found: Words = number[order][start[own.ravel()] + places.astype(np.int64)].astype(np.uint64)
    return found


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
