"""The plan: which sequences form which shard of which step. A pure function; the world size does not occur in it.

Think of all sequences in a line, the longest first. The line is cut into steps, each step into V shards of neighbours.
Only the *histogram* of lengths decides where the cuts are, so they are the same in every epoch, can be computed for
any step at once, and need memory for the distinct lengths only (beside one integer a sequence, its place in the line).
What an epoch shuffles is who stands where among sequences of equal length, and the order of the steps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from launch.seeding import derive_seed
from seq.data.permutation import permute
from seq.data.ragged import Ints


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
    whole: Piece
    """The whole step: its rows and tokens, which every rank knows without asking the others."""


class Plan:
    """`lengths` (n,): time steps of each sequence, n >= 1; `shards` V; a shard has rows * longest <= `tokens` and at
    most `rows` rows. A sequence longer than `tokens` gets a shard of its own."""

    def __init__(self, lengths: Ints, *, shards: int, tokens: int, rows: int) -> None:
        self.size, self.shards = len(lengths), shards
        self.order = np.argsort(-lengths.astype(np.int64), kind="stable")
        distinct, counts = np.unique(lengths, return_counts=True)
        self.class_length = distinct[::-1].astype(np.int64)
        self.class_start = np.concatenate(([0], np.cumsum(counts[::-1])))
        self.tokens_before = np.concatenate(([0], np.cumsum(counts[::-1] * self.class_length)))
        self._cut_line(lambda longest: shards * max(1, min(rows, tokens // longest)))

    def _cut_line(self, rows_of_step: Callable[[int], int]) -> None:
        """Cut into runs of steps with equal row counts, at most two for each distinct length."""
        starts, sizes, counts, position = [], [], [], 0
        while position < self.size:
            here = self._class_of(position)
            size = rows_of_step(int(self.class_length[here]))
            # The last step of a length takes in sequences of the next, shorter, one.
            count = max(1, (int(self.class_start[here + 1]) - position) // size)
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

    def shards_of(self, step: Piece) -> list[Piece]:
        """Its V shards, sizes at most one apart."""
        cuts = [step.start + step.rows * shard // self.shards for shard in range(self.shards + 1)]
        return [self._piece(start, stop) for start, stop in pairwise(cuts)]

    def largest_shard(self) -> Piece:
        """The shard with the most padded tokens; steps of equal size shrink in length, so the first of each run will
        do."""
        shards = (shard for step in self._run_step[:-1] for shard in self.shards_of(self.step(int(step))))
        return max(shards, key=lambda shard: shard.padded_tokens)

    def shuffled_step(self, place: int, *, seed: int, epoch: int) -> Piece:
        """The step that an epoch runs in place `place`."""
        key = derive_seed(seed, "steps", epoch)
        return self.step(int(permute(np.array([place]), len(self), key)[0]))

    def sequences(self, piece: Piece, *, seed: int | None, epoch: int) -> NDArray[np.int64]:
        """The sequences (rows of the data set) that stand there in `epoch`; with `seed=None`, unshuffled."""
        positions = np.arange(piece.start, piece.stop)
        if seed is None:
            return self.order[positions]
        first, last = self._class_of(piece.start), self._class_of(max(piece.start, piece.stop - 1))
        parts = [self._shuffle_class(here, positions, seed, epoch) for here in range(first, last + 1)]
        return self.order[np.concatenate(parts)]

    def _shuffle_class(self, here: int, positions: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int64]:
        start, stop = int(self.class_start[here]), int(self.class_start[here + 1])
        inside = positions[(positions >= start) & (positions < stop)]
        key = derive_seed(seed, "order", epoch, int(self.class_length[here]))
        return start + permute(inside - start, stop - start, key)

    def _piece(self, start: int, stop: int) -> Piece:
        tokens = self._tokens_up_to(stop) - self._tokens_up_to(start)
        longest = int(self.class_length[self._class_of(start)]) if stop > start else 0
        return Piece(start, stop, longest, tokens)

    def _tokens_up_to(self, position: int) -> int:
        here = min(self._class_of(position), len(self.class_length) - 1)
        return int(self.tokens_before[here] + (position - self.class_start[here]) * self.class_length[here])

    def _class_of(self, position: int) -> int:
        return int(np.searchsorted(self.class_start, position, side="right")) - 1
