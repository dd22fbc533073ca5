"""`StreamDistributedSampler`: a DistributedSampler whose shards read texts from beginning to end, side by side."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from launch.seeding import derive_seed
from seq.config import BatchConfig
from seq.data.dataset import SequenceDataset
from seq.data.permutation import permute
from seq.data.plan import Pieces, Shard, Windows
from seq.data.sampler import ShardSampler


class StreamDistributedSampler(ShardSampler):
    """Each shard has `batch.rows` lanes. An epoch's documents stand one behind the other, in an order of its own, cut
    into windows of `batch.window` time steps (the last of a document may be shorter); each lane reads an equal share
    of the windows, one a step. Where a window follows the lane's last one in the same document, it `continues`."""

    def arrange(self, dataset: SequenceDataset, batch: BatchConfig) -> None:
        self.lengths = np.diff(dataset.sequences.offsets) - 1
        self.window, self.rows, self.num_shards = batch.window, batch.rows, batch.shards
        self.windows_of = -(-self.lengths // batch.window)
        self.num_windows, self.num_lanes = int(self.windows_of.sum()), batch.shards * batch.rows

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.num_windows // self.num_lanes)

    def shards(self, steps: range, numbers: range) -> Iterator[Shard]:
        epoch, first = divmod(steps.start, self.steps_per_epoch)
        for place, step in enumerate(steps, first):
            documents, windows = self._lanes(epoch, place)
            pieces = self._pieces(windows)
            for number in numbers:
                own = slice(number * self.rows, (number + 1) * self.rows)
                read = Windows(windows.begin[own], windows.length[own], windows.continues[own])
                yield Shard(step, number, documents[own], read, pieces)

    def largest_shard(self) -> Shard:
        # All have the same size, but for the last step of an epoch.
        return next(self.shards(range(1), range(1)))

    def _lanes(self, epoch: int, place: int) -> tuple[NDArray[np.int64], Windows]:
        """For each lane the document and the window in it that step `place` of `epoch` reads."""
        order, bounds = self._epoch(epoch)
        starts = self.num_windows * np.arange(self.num_lanes + 1) // self.num_lanes
        inside = starts[:-1] + place < starts[1:]
        window = np.where(inside, starts[:-1] + place, starts[:-1])
        position = np.searchsorted(bounds, window, side="right") - 1
        document = order[position]
        begin = (window - bounds[position]) * self.window
        length = np.where(inside, np.minimum(self.window, self.lengths[document] - begin), 0)
        return document, Windows(begin, length, inside & (begin > 0) & (place > 0))

    def _pieces(self, windows: Windows) -> Pieces:
        length = windows.length.reshape(self.num_shards, self.rows)
        return Pieces((length > 0).sum(1), length.sum(1), self.rows * length.max(1).clip(1))

    @lru_cache(maxsize=2)  # noqa: B019  # a sampler lives as long as its run
    def _epoch(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The documents in the order of `epoch`, and where in it the windows of each begin."""
        order: NDArray[np.int64] = np.arange(len(self.lengths))
        if self.shuffle:
            order = permute(order, len(order), derive_seed(self.seed, "documents", epoch))
        return order, np.concatenate(([0], np.cumsum(self.windows_of[order])))
