"""The plan: which sequences form which shard of which step. A pure function; the world size does not occur in it.

Think of all sequences in a line, the longest first. The line is cut into steps, each step into V shards of neighbours.
Only the *histogram* of lengths decides where the cuts are, so they are the same in every epoch, can be computed for
any step at once, and need memory for the distinct lengths only; the line itself lies on the disk.
What an epoch shuffles is who stands where among sequences of equal length, and the order of the steps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from launch.seeding import derive_seed
from seq.data.line import Line
from seq.data.permutation import permute


@dataclass(frozen=True)
class Piece:
    """Sequences `start` to `stop` of the line: a step, or a shard of one (empty where start = stop)."""

    start: int
    stop: int
    longest: int
    """Time steps of the longest; 0 if empty."""
    tokens: int
    """Time steps of all."""

    @property
    def rows(self) -> int:
        return self.stop - self.start

    @property
    def padded_tokens(self) -> int:
        return self.rows * self.longest


class Shard(NamedTuple):
    """What the loader asks the data set for: one microbatch, and what it is part of."""

    step: int
    """Step of the run (not of the epoch)."""
    shard: int
    """Place within the step, 0 to V - 1."""
    sequences: NDArray[np.int64]
    """Rows of the data set; may be empty."""
    windows: "Windows | None"
    """The parts of them that are read; None for all."""
    pieces: "Pieces"
    """The whole step: rows and tokens of all shards, which every rank knows without asking the others."""


class Windows(NamedTuple):
    """A part of each sequence."""

    begin: NDArray[np.int64]
    """Time steps before it."""
    length: NDArray[np.int64]
    """Its time steps; 0 where there is nothing to read."""
    continues: NDArray[np.bool_]
    """It goes on from the part of the step before, so that the state is carried."""


class Pieces(NamedTuple):
    """The V shards of a step, as arrays (V,)."""

    rows: NDArray[np.int64]
    tokens: NDArray[np.int64]
    padded_tokens: NDArray[np.int64]


class Plan:
    """`line`: the sequences by length; `shards` V; a shard has rows * longest <= `tokens` and at most `rows` rows. A
    sequence longer than `tokens` gets a shard of its own."""

    def __init__(self, line: Line, *, shards: int, tokens: int, rows: int) -> None:
        self.line, self.size, self.shards = line, len(line), shards
        self.tokens_before = np.concatenate(([0], np.cumsum(np.diff(line.start) * line.length)))
        self._cut_line(lambda longest: shards * max(1, min(rows, tokens // longest)))

    def _cut_line(self, rows_of_step: Callable[[int], int]) -> None:
        """Cut into runs of steps with equal row counts, at most two for each distinct length."""
        starts, sizes, counts, position = [], [], [], 0
        while position < self.size:
            here = int(self._classes_of(position))
            size = rows_of_step(int(self.line.length[here]))
            # The last step of a length takes in sequences of the next, shorter, one.
            count = max(1, (int(self.line.start[here + 1]) - position) // size)
            starts.append(position)
            sizes.append(size)
            counts.append(count)
            position += size * count
        self._run_start, self._run_size = np.array(starts), np.array(sizes)
        self._run_step = np.concatenate(([0], np.cumsum(counts)))

    def __len__(self) -> int:
        """Steps in an epoch: the same in every epoch and on every rank."""
        return int(self._run_step[-1])

    def step(self, step: int) -> Piece:
        """Step number `step` of the unshuffled epoch (the longest sequences first)."""
        run = int(np.searchsorted(self._run_step, step, side="right")) - 1
        size = int(self._run_size[run])
        start = int(self._run_start[run]) + (step - int(self._run_step[run])) * size
        return self._piece(start, min(start + size, self.size))

    def cuts(self, step: Piece) -> NDArray[np.int64]:
        """(V + 1,) where in the line its shards begin and end; their sizes are at most one apart."""
        return step.start + step.rows * np.arange(self.shards + 1, dtype=np.int64) // self.shards

    def shards_of(self, step: Piece) -> Pieces:
        """All of them, without a loop: at a thousand ranks there are thousands."""
        cuts = self.cuts(step)
        rows: NDArray[np.int64] = cuts[1:] - cuts[:-1]
        longest = self.line.length[self._classes_of(np.minimum(cuts[:-1], self.size - 1))].astype(np.int64)
        return Pieces(rows, np.diff(self._tokens_up_to(cuts)), rows * longest)

    def largest_shard(self) -> Piece:
        """The shard with the most padded tokens; steps of equal size shrink in length, so the first of each run will
        do, and in it the first shard or the first of those that have a row more."""
        steps = [self.step(int(step)) for step in self._run_step[:-1]]
        best = max(steps, key=lambda step: int(self.shards_of(step).padded_tokens.max()))
        largest = int(self.shards_of(best).padded_tokens.argmax())
        start, stop = self.cuts(best)[largest : largest + 2].tolist()
        return self._piece(start, stop)

    def shuffled_steps(self, places: range, *, seed: int | None, epoch: int) -> list[Piece]:
        """The steps that an epoch runs in `places`; with `seed=None`, unshuffled."""
        if seed is None:
            return [self.step(place) for place in places]
        numbers = permute(np.arange(places.start, places.stop), len(self), derive_seed(seed, "steps", epoch))
        return [self.step(number) for number in numbers.tolist()]

    def sequences(self, positions: NDArray[np.int64], *, seed: int | None, epoch: int) -> NDArray[np.int64]:
        """The sequences (rows of the data set) that stand there in `epoch`; with `seed=None`, unshuffled."""
        if seed is not None:
            classes, own = np.unique(self._classes_of(positions), return_inverse=True)
            start, stop = self.line.start[classes], self.line.start[classes + 1]
            keys = [derive_seed(seed, "order", epoch, length) for length in self.line.length[classes].tolist()]
            shuffled = permute(positions - start[own], (stop - start)[own], np.array(keys, np.uint64)[own])
            positions = start[own] + shuffled
        return self.line.order[positions].astype(np.int64)

    def _piece(self, start: int, stop: int) -> Piece:
        before, after = self._tokens_up_to(np.array([start, stop]))
        longest = int(self.line.length[self._classes_of(start)]) if stop > start else 0
        return Piece(start, stop, longest, int(after - before))

    def _tokens_up_to(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        here = np.minimum(self._classes_of(positions), len(self.line.length) - 1)
        inside: NDArray[np.int64] = positions - self.line.start[here]
        before: NDArray[np.int64] = self.tokens_before[here] + inside * self.line.length[here]
        return before

    def _classes_of(self, positions: NDArray[np.int64] | int) -> NDArray[np.int64]:
        places: NDArray[np.int64] = np.searchsorted(self.line.start, positions, side="right") - 1
        return places
