"""The plan: which sequences form which shard of which step. A pure function; the world size does not occur in it.

All sequences are sorted by length, the longest first. This order is cut into steps, and each step into V shards of
neighbours. Only the *histogram* of lengths decides the cuts, so they are the same in every epoch, can be computed for any
step directly, and need memory only for the distinct lengths; the order itself is on the disk.
An epoch shuffles sequences of equal length among themselves, and shuffles the steps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from launch.seeding import derive_seed
from seq.data.order import LengthOrder, permute


@dataclass(frozen=True)
class Span:
    """Positions `start` to `stop` in the order by length: a step, or one of its shards (empty if start = stop)."""

    start: int
    stop: int
    longest: int
    """Time steps that all are padded to; 0 if empty."""
    tokens: int
    """Time steps of all."""

    @property
    def rows(self) -> int:
        return self.stop - self.start

    @property
    def padded_tokens(self) -> int:
        return self.rows * self.longest


class Shard(NamedTuple):
    """The loader's request to the data set: one shard, and the step that it is part of."""

    step: int
    """Step of the run (not of the epoch)."""
    shard: int
    """Place within the step, 0 to V - 1."""
    sequences: NDArray[np.int64]
    """Rows of the data set; may be empty."""
    windows: "Windows | None"
    """The part of each sequence that is read; None for whole sequences."""
    sizes: "ShardSizes"
    """Rows and tokens of all shards of the step. Every rank computes them without communication."""


class Windows(NamedTuple):
    """One window of each sequence."""

    begin: NDArray[np.int64]
    """Time steps of the sequence before the window."""
    length: NDArray[np.int64]
    """Time steps of the window; 0 if there is nothing to read."""
    continues: NDArray[np.bool_]
    """The window follows the lane's window of the step before, so the state is carried."""


class ShardSizes(NamedTuple):
    """Sizes of the V shards of a step, as arrays (V,)."""

    rows: NDArray[np.int64]
    tokens: NDArray[np.int64]
    padded_tokens: NDArray[np.int64]
    target_tokens: NDArray[np.int64]
    """Of pairs, time steps of the targets alone; else as `tokens`."""


class Plan:
    """`shards` V; a shard has rows * longest <= `tokens` and at most `rows` rows. A sequence longer than `tokens` gets its
    own shard."""

    def __init__(self, by_length: LengthOrder, *, shards: int, tokens: int, rows: int) -> None:
        self.by_length, self.size, self.shards = by_length, len(by_length), shards
        counts = np.diff(by_length.start)[:, None]
        self.tokens_before = np.concatenate(
            (np.zeros_like(by_length.lengths[:1]), np.cumsum(counts * by_length.lengths, 0))
        )
        """(G + 1, D) time steps of all sequences before each group."""
        self._cut(lambda longest: shards * max(1, min(rows, tokens // longest)))

    def _cut(self, rows_of_step: Callable[[int], int]) -> None:
        """Cut the order into runs of steps with equal row counts, at most two runs for each length group."""
        starts, sizes, counts, position = [], [], [], 0
        while position < self.size:
            here = int(self.by_length.group_of(position))
            size = rows_of_step(int(self.by_length.length[here]))
            count = (int(self.by_length.start[here + 1]) - position) // size
            if count == 0:  # the last step of a group includes sequences of the next ones, where a target may be longer
                size, count = self._that_fits(position, size, rows_of_step), 1
            starts.append(position)
            sizes.append(size)
            counts.append(count)
            position += size * count
        self._run_start, self._run_size = np.array(starts), np.array(sizes)
        self._run_step = np.concatenate(([0], np.cumsum(counts)))

    def _that_fits(self, position: int, size: int, rows_of_step: Callable[[int], int]) -> int:
        """The most rows, at most `size`, that a step from `position` on may have."""
        while True:
            longest = self.by_length.longest(np.array([position]), np.array([min(position + size, self.size)]))
            if (fitting := rows_of_step(int(longest[0]))) >= size:
                return size
            size = fitting

    def __len__(self) -> int:
        """Steps in an epoch: the same in every epoch and on every rank."""
        return int(self._run_step[-1])

    def step(self, step: int) -> Span:
        """Step number `step` of the unshuffled epoch (the longest sequences first)."""
        run = int(np.searchsorted(self._run_step, step, side="right")) - 1
        size = int(self._run_size[run])
        start = int(self._run_start[run]) + (step - int(self._run_step[run])) * size
        return self._span(start, min(start + size, self.size))

    def cuts(self, step: Span) -> NDArray[np.int64]:
        """(V + 1,) positions at which its shards begin and end; their row counts differ by at most one."""
        return step.start + step.rows * np.arange(self.shards + 1, dtype=np.int64) // self.shards

    def shards_of(self, step: Span) -> ShardSizes:
        """Sizes of all shards, without a loop: with a thousand ranks there are thousands of shards."""
        cuts = self.cuts(step)
        rows: NDArray[np.int64] = cuts[1:] - cuts[:-1]
        tokens = np.diff(self._tokens_up_to(cuts), axis=0)
        return ShardSizes(rows, tokens.sum(1), rows * self.by_length.longest(cuts[:-1], cuts[1:]), tokens[:, -1])

    def largest_shard(self) -> Span:
        """The shard with the most padded tokens. A run's steps are all of one group, or it has one step, so only the first step of
        each run is examined."""
        steps = [self.step(int(step)) for step in self._run_step[:-1]]
        best = max(steps, key=lambda step: int(self.shards_of(step).padded_tokens.max()))
        largest = int(self.shards_of(best).padded_tokens.argmax())
        start, stop = self.cuts(best)[largest : largest + 2].tolist()
        return self._span(start, stop)

    def shuffled_steps(self, places: range, *, seed: int | None, epoch: int) -> list[Span]:
        """The steps that an epoch runs in `places`; with `seed=None`, unshuffled."""
        if seed is None:
            return [self.step(place) for place in places]
        numbers = permute(np.arange(places.start, places.stop), len(self), derive_seed(seed, "steps", epoch))
        return [self.step(number) for number in numbers.tolist()]

    def sequences(self, positions: NDArray[np.int64], *, seed: int | None, epoch: int) -> NDArray[np.int64]:
        """The sequences (rows of the data set) at these positions in `epoch`; with `seed=None`, unshuffled."""
        if seed is not None:
            groups, own = np.unique(self.by_length.group_of(positions), return_inverse=True)
            start, stop = self.by_length.start[groups], self.by_length.start[groups + 1]
            keys = [derive_seed(seed, "order", epoch, *lengths) for lengths in self.by_length.lengths[groups].tolist()]
            shuffled = permute(positions - start[own], (stop - start)[own], np.array(keys, np.uint64)[own])
            positions = start[own] + shuffled
        return self.by_length.order[positions].astype(np.int64)

    def _span(self, start: int, stop: int) -> Span:
        before, after = self._tokens_up_to(np.array([start, stop])).sum(1)
        longest = int(self.by_length.longest(np.array([start]), np.array([stop]))[0]) if stop > start else 0
        return Span(start, stop, longest, int(after - before))

    def _tokens_up_to(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """(N, D) time steps of all sequences before each position."""
        here = np.minimum(self.by_length.group_of(positions), len(self.by_length.lengths) - 1)
        inside: NDArray[np.int64] = positions - self.by_length.start[here]
        before: NDArray[np.int64] = self.tokens_before[here] + inside[:, None] * self.by_length.lengths[here]
        return before
