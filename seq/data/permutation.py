"""A shuffle that can be asked for any single place: no array of n, no pass over what comes before."""

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 6


Words = NDArray[np.uint64]


def permute(places: NDArray[np.int64], size: NDArray[np.int64] | int, seed: Words | int) -> NDArray[np.int64]:
    """Where each of `places` (in [0, size)) goes in the shuffle of `size` things that `seed` stands for; `size` and
    `seed` may differ from place to place.

    A Feistel network over a rectangle of at least `size` cells (Black and Rogaway, Ciphers with Arbitrary Finite
    Domains, 2002): each round adds to one coordinate a hash of the other, which is a bijection. Places that land
    outside [0, size) walk on along their cycle until they are inside. O(len(places)) time and memory.
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
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): every input bit moves every output bit."""
    mixed = (values + np.uint64(1)) * np.uint64(0xBF58476D1CE4E5B9) ^ keys
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
