"""The tree: the one order in which values of the V shards are added, at any number of ranks.

A subtree (level, number) covers those of the shards number * 2^level to (number + 1) * 2^level - 1 that exist. Neighbours are
added first, then neighbours of those sums, and so on:

    ((s0 + s1) + (s2 + s3)) + (s4 + s5)        V = 6

Rank r of W has the contiguous shards from floor(r V / W) to floor((r + 1) V / W) - 1. It can add what lies in subtrees inside
its range; the sums of these subtrees, from all ranks and in their order, are then added in the same tree.
"""

from collections.abc import Callable, Collection
from typing import Generic, NamedTuple, TypeVar

Value = TypeVar("Value")


class Subtree(NamedTuple):
    level: int
    number: int


class TreeSum(Generic[Value]):
    """Takes the values of consecutive subtrees, and adds those that are complete. `add(left, right)` may change both."""

    def __init__(self, add: Callable[[Value, Value], Value]) -> None:
        self._add = add
        self.parts: list[tuple[Subtree, Value]] = []
        """Sums of maximal subtrees so far, in the order of the shards; at most 2 log2(V) of them."""

    def push(self, subtree: Subtree, value: Value) -> None:
        """The next subtree. A shard is a subtree of level 0."""
        while self.parts and is_left_neighbour(self.parts[-1][0], subtree):
            _, left = self.parts.pop()
            subtree, value = Subtree(subtree.level + 1, subtree.number // 2), self._add(left, value)
        self.parts.append((subtree, value))

    def total(self) -> Value:
        """Return the sum of all shards. Call it after the last one: if V is not a power of two, the last subtrees are incomplete."""
        _, value = self.parts.pop()
        while self.parts:
            _, left = self.parts.pop()
            value = self._add(left, value)
        return value


def is_left_neighbour(left: Subtree, right: Subtree) -> bool:
    """True if both are the halves of one subtree."""
    return left.level == right.level and right.number % 2 == 1 and left.number == right.number - 1


def shards_of(rank: int, world_size: int, shards: int) -> range:
    """The shards that a rank runs. Their number differs by at most one between ranks."""
    return range(rank * shards // world_size, (rank + 1) * shards // world_size)


def share(world_size: int, shards: int, *, without: Collection[int] = ()) -> list[range]:
    """The shards of every rank. Ranks in `without` get none, unless these are all; the others compute theirs."""
    ranks = [rank for rank in range(world_size) if rank not in without] or list(range(world_size))
    parts = {rank: shards_of(place, len(ranks), shards) for place, rank in enumerate(ranks)}
    return [parts.get(rank, range(0)) for rank in range(world_size)]


def passes_of(shards: range, most: int) -> list[range]:
    """Cut a range of shards into subtrees of at most `most` shards, as large as they can be; each is computed in one pass."""
    found = []
    while shards:
        size = 1
        while 2 * size <= min(most, len(shards)) and shards.start % (2 * size) == 0:
            size *= 2
        found.append(shards[:size])
        shards = shards[size:]
    return found


def subtree_of(shards: range) -> Subtree:
    """The subtree of these shards, one of `passes_of`."""
    return Subtree(len(shards).bit_length() - 1, shards.start // len(shards))


def wasted_share(world_size: int, shards: int) -> float:
    """The share of time that ranks wait for the rank with most shards: with 3 ranks on 4 shards, 2 of 6 slots."""
    slots = world_size * -(-shards // world_size)
    return 1 - shards / slots


def subtrees_of(shards: range) -> list[Subtree]:
    """The maximal subtrees inside a range of shards, in its order."""
    return [subtree_of(part) for part in passes_of(shards, len(shards))]
