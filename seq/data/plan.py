"""The plan: which sequences form which shard of which step. A pure function; the world size does not occur in it.

All sequences are sorted by length, the longest first. This order is cut into steps, and each step into V shards of
neighbours. Only the *histogram* of lengths decides the cuts, so they can be computed for any step directly, and need memory only
for the distinct lengths; the order itself is on the disk.
An epoch shuffles sequences of nearly equal length among themselves, moves all cuts by part of a step, and shuffles the steps.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from launch.seeding import derive_seed
from seq.data.order import LengthOrder, permute
from seq.data.ragged import Ints

TOLERANCE = 0.01
"""Lengths are nearly equal if the longest exceeds the shortest by at most this share, which limits the padding that mixing adds. Below
100 time steps, only equal lengths count as nearly equal."""
EPOCHS = 4
"""Number of epochs that `largest_step` searches."""
ATTEMPTS = 8
"""Number of positions to try for an epoch's first cut, before the unmoved cuts are used."""


class Span(NamedTuple):
    """Positions `start` to `stop` - 1 in the order by length: a step."""

    start: int
    stop: int

    @property
    def rows(self) -> int:
        return self.stop - self.start


class PassRequest(NamedTuple):
    """The loader's request to the data set: the shards of one pass, and the step that they are part of."""

    step: int
    """Step of the run (not of the epoch)."""
    numbers: range
    """Places of the S shards within the step, in 0 to V - 1."""
    sequences: NDArray[np.int64]
    """(S * B,) rows of the data set; -1 where a shard has fewer rows than others."""
    segments: "Segments | None"
    """The part of each sequence that is read; None for whole sequences."""
    sizes: "ShardSizes"
    """Rows and tokens of all shards of the step. Every rank computes them without communication."""


class Segments(NamedTuple):
    """One segment of each sequence."""

    begin: NDArray[np.int64]
    """Time steps of the sequence before the segment."""
    length: NDArray[np.int64]
    """Time steps of the segment; 0 if there is nothing to read."""
    continues: NDArray[np.bool_]
    """The segment follows the lane's segment of the step before, and begins with its state."""


class ShardSizes(NamedTuple):
    """Sizes of the V shards of a step."""

    rows: NDArray[np.int64]
    """(V,)"""
    tokens: NDArray[np.int64]
    """(V,)"""
    target_tokens: NDArray[np.int64]
    """(V,) time steps of the targets alone, for pairs; else as `tokens`."""
    examples: NDArray[np.int64]
    """(V,) sequences that are read from their beginning: in stateful order, fewer than the rows."""
    shape: tuple[int, ...]
    """Rows and time steps to which every shard is padded; for pairs, time steps of source and target."""

    @property
    def padded_tokens(self) -> int:
        """Time steps of one shard with its padding."""
        rows, *times = self.shape
        return rows * sum(times)


class Runs(NamedTuple):
    """Steps with equal row counts, one after another, as arrays (R,)."""

    start: NDArray[np.int64]
    """The position at which the run begins."""
    size: NDArray[np.int64]
    """Rows of each of its steps; the last step of all may have fewer."""
    steps: NDArray[np.int64]
    """How many steps."""


class Plan:
    """`shards` V; a shard has rows * longest <= `tokens` and at most `rows` rows. A sequence longer than `tokens` gets its
    own shard. `seed`: None leaves the order as it is, the longest sequences first."""

    def __init__(self, by_length: LengthOrder, *, shards: int, tokens: int, rows: int, seed: int | None) -> None:
        self.by_length, self.size, self.shards, self.seed = by_length, len(by_length), shards, seed
        self._tokens, self._rows = tokens, rows
        counts = np.diff(by_length.start)[:, None]
        self.tokens_before = np.concatenate(
            (np.zeros_like(by_length.lengths[:1]), np.cumsum(counts * by_length.lengths, 0))
        )
        """(G + 1, D) time steps of all sequences before each group."""
        self._first_of = _classes(by_length.lengths)
        """(C + 1,) the length group with which each class of nearly equal lengths begins."""
        self._mixed_before = np.concatenate(([0], np.cumsum(np.diff(self._first_of) > 1)))
        """(C + 1,) classes with several lengths before each."""
        unmoved = self._cut(0)
        steps = int(unmoved.steps.sum())
        self._most = int(unmoved.size[0])
        moves = seed is not None and steps > 1 and self._most > 1
        # Wherever the first cut is, the steps are enough if there is one more.
        self._steps = steps + moves
        self._unmoved = self._with_all_steps(unmoved)

    def __len__(self) -> int:
        """Steps in an epoch: the same in every epoch and on every rank."""
        return self._steps

    def steps(self, places: range, *, epoch: int) -> list[Span]:
        """The steps that an epoch runs in `places`."""
        numbers = np.arange(places.start, places.stop)
        if self.seed is not None:
            numbers = permute(numbers, len(self), derive_seed(self.seed, "steps", epoch))
        runs = self._runs(epoch)
        first = np.cumsum(runs.steps) - runs.steps
        run = np.searchsorted(first, numbers, side="right") - 1
        starts = runs.start[run] + (numbers - first[run]) * runs.size[run]
        stops = np.minimum(starts + runs.size[run], self.size)
        return [Span(start, stop) for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]

    def cuts(self, step: Span) -> NDArray[np.int64]:
        """(V + 1,) positions at which its shards begin and end; their row counts differ by at most one."""
        return step.start + step.rows * np.arange(self.shards + 1, dtype=np.int64) // self.shards

    def shards_of(self, step: Span, *, epoch: int) -> ShardSizes:
        """Sizes of all shards, without a loop: with a thousand ranks there are thousands of shards."""
        cuts = self.cuts(step)
        rows: NDArray[np.int64] = cuts[1:] - cuts[:-1]
        first, last = self._class_of(np.array([step.start, step.stop - 1]))
        if self.seed is None or self._mixed_before[first] == self._mixed_before[last + 1]:
            tokens, longest = np.diff(self._tokens_up_to(cuts), axis=0), self.by_length.longest(*step)
            return ShardSizes(rows, tokens.sum(1), tokens[:, -1], rows, (int(rows.max()), *longest))
        # Only the shuffle decides which rows of a class with several lengths are in the step.
        places = self._shuffled(np.arange(step.start, step.stop), epoch)
        lengths = self.by_length.length[self.by_length.group_of(places)]
        total = np.diff(np.concatenate(([0], np.cumsum(lengths)))[cuts - step.start])
        return ShardSizes(rows, total, total, rows, (int(rows.max()), int(lengths.max())))

    def largest_step(self) -> Span:
        """The step with the most padded tokens, as positions of the unshuffled order. Steps are largest where a class begins. Pairs have
        many classes, so for them the steps of some epochs are examined instead."""
        singles = self.by_length.lengths.shape[1] == 1
        starts = self.by_length.start[self._first_of[:-1]].tolist() if singles else []
        steps = [(start, self._rows_of_step(self._longest_of(number))) for number, start in enumerate(starts)]
        for epoch in range(EPOCHS):
            runs = self._runs(epoch)
            steps += zip(runs.start.tolist(), runs.size.tolist(), strict=True)
        spans = [Span(start, min(start + self._that_fits(start, size), self.size)) for start, size in steps]
        return max(spans, key=lambda step: -(-step.rows // self.shards) * sum(self.by_length.longest(*step)))

    def sequences(self, positions: NDArray[np.int64], *, epoch: int) -> NDArray[np.int64]:
        """The sequences (rows of the data set) at these positions in `epoch`."""
        return self.by_length.order[self._shuffled(positions, epoch)].astype(np.int64)

    def _shuffled(self, positions: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """Return the unshuffled positions of the sequences at these positions. The shuffle keeps each in its class."""
        if self.seed is None:
            return positions
        classes, own = np.unique(self._class_of(positions), return_inverse=True)
        first = self._first_of[classes]
        start, stop = self.by_length.start[first], self.by_length.start[self._first_of[classes + 1]]
        keys = [derive_seed(self.seed, "order", epoch, *lengths) for lengths in self.by_length.lengths[first].tolist()]
        return start[own] + permute(positions - start[own], (stop - start)[own], np.array(keys, np.uint64)[own])

    @lru_cache(maxsize=2)  # noqa: B019  # a plan lives as long as its run
    def _runs(self, epoch: int) -> Runs:
        """The steps of an epoch. The first two steps are shortened by a number that depends on the epoch, which moves all others."""
        if self.seed is None or self._steps == 1 or self._most == 1:
            return self._unmoved
        for attempt in range(ATTEMPTS):
            first = 1 + derive_seed(self.seed, "cuts", epoch, attempt) % self._most
            # Of pairs, whose targets are not in order, moved cuts may need still more steps.
            if (runs := self._cut(first)).steps.sum() <= self._steps:
                return self._with_all_steps(runs)
        return self._unmoved

    def _cut(self, first: int) -> Runs:
        """Cut the order into the fewest steps; if `first` is not 0, the first two steps together have `first` rows more than one step. No
        step but the last is then smaller than half a step. At most two runs for each class."""
        position = min(first + self._most, self.size) if first else 0
        half = (position + 1) // 2
        found = [(0, half, 1), (half, position - half, 1)] if first else []
        if first and self._that_fits(half, position - half) < position - half:  # pairs, whose targets are not in order
            found, position = [(0, first, 1)], first
        while position < self.size:
            own = int(self._class_of(position))
            size = self._rows_of_step(self._longest_of(own))
            count = (int(self.by_length.start[self._first_of[own + 1]]) - position) // size
            if count == 0:  # the last step of a class includes sequences of the next ones, where a target may be longer
                size, count = self._that_fits(position, size), 1
            found.append((position, size, count))
            position += size * count
        return Runs(*np.array(found, np.int64).T)

    def _with_all_steps(self, runs: Runs) -> Runs:
        """Halve the largest step until there are as many steps as in every epoch."""
        while runs.steps.sum() < self._steps:
            rows = np.minimum(runs.start + runs.size, self.size) - runs.start
            place, parts = int(rows.argmax()), np.column_stack(runs)
            (start, size, count), half = parts[place].tolist(), (int(rows.max()) + 1) // 2
            others = [(start + size, size, count - 1)] * (count > 1)
            halves = np.array([(start, half, 1), (start + half, size - half, 1), *others])
            runs = Runs(*np.concatenate((parts[:place], halves, parts[place + 1 :])).T)
        return runs

    def _rows_of_step(self, longest: int) -> int:
        return self.shards * max(1, min(self._rows, self._tokens // longest))

    def _that_fits(self, position: int, size: int) -> int:
        """The largest number of rows, up to `size`, that a step beginning at `position` may have."""
        while (fitting := self._rows_of_step(self._longest_in(Span(position, min(position + size, self.size))))) < size:
            size = fitting
        return size

    def _longest_in(self, step: Span) -> int:
        """The most time steps that its rows may be padded to, in any epoch."""
        start = int(self.by_length.start[self._first_of[int(self._class_of(step.start))]])
        return sum(self.by_length.longest(start, step.stop))

    def _longest_of(self, own: int) -> int:
        return int(self.by_length.length[self._first_of[own]])

    def _class_of(self, positions: NDArray[np.int64] | int) -> NDArray[np.int64]:
        places: NDArray[np.int64] = (
            np.searchsorted(self._first_of, self.by_length.group_of(positions), side="right") - 1
        )
        return places

    def _tokens_up_to(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """(N, D) time steps of all sequences before each position."""
        here = np.minimum(self.by_length.group_of(positions), len(self.by_length.lengths) - 1)
        inside: NDArray[np.int64] = positions - self.by_length.start[here]
        before: NDArray[np.int64] = self.tokens_before[here] + inside[:, None] * self.by_length.lengths[here]
        return before


def _classes(lengths: Ints) -> NDArray[np.int64]:
    """(C + 1,) the groups with which classes begin, and the number of groups. `lengths` (G, D), the longest first. Pairs of which one
    side has another length are never mixed."""
    if lengths.shape[1] > 1:
        return np.arange(len(lengths) + 1)
    level = np.floor(np.log(lengths[:, 0]) / np.log(1 + TOLERANCE))
    return np.flatnonzero(np.concatenate(([True], level[1:] != level[:-1], [True])))
