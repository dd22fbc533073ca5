"""DistributedSamplers whose items are shards: bucketed by length, or in stateful order."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DistributedSampler

from launch.seeding import derive_seed
from launch.tree import shards_of
from seq.config import BatchConfig
from seq.data.dataset import SequenceDataset
from seq.data.order import permute
from seq.data.plan import Plan, Segments, Shard, ShardSizes

BLOCK = 32
"""Steps that are looked up together, so that they share the fixed cost of a vectorised shuffle."""


class ShardSampler(DistributedSampler[Shard], ABC):
    """The base of both orders: rank r of W gets a contiguous part of each step's shards (`launch.tree.shards_of`), so all ranks
    have the same number of steps. The shards depend on (data, seed, epoch, batch); rank and world size only decide who gets them.
    ValueError if there are more ranks than shards.
    """

    def __init__(
        self,
        dataset: SequenceDataset,
        batch: BatchConfig,
        *,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(dataset, num_replicas, rank, shuffle, seed)
        if self.num_replicas > batch.shards:
            raise ValueError(f"world size {self.num_replicas} is more than {batch.shards} shards")
        self.own = shards_of(self.rank, self.num_replicas, batch.shards)
        self.start_step = 0
        self.arrange(dataset, batch)

    @abstractmethod
    def arrange(self, dataset: SequenceDataset, batch: BatchConfig) -> None:
        """Prepare what the order needs to know about the data."""

    @property
    @abstractmethod
    def steps_per_epoch(self) -> int:
        """Steps in an epoch: the same number in every epoch and on every rank."""

    @abstractmethod
    def shards(self, steps: range, numbers: range) -> Iterator[Shard]:
        """The shards `numbers` of `steps` of the run, which are all in one epoch; of any rank."""

    @abstractmethod
    def largest_shard(self) -> Shard:
        """The shard with the most padded tokens, as a shard of step 0."""

    def seek(self, step: int) -> None:
        """The next pass begins at `step` of the run, also in the middle of an epoch. Takes no time."""
        self.epoch, self.start_step = divmod(step, self.steps_per_epoch)

    def set_epoch(self, epoch: int) -> None:
        """The next pass is the whole of `epoch`."""
        self.epoch, self.start_step = epoch, 0

    def __len__(self) -> int:
        return (self.steps_per_epoch - self.start_step) * len(self.own)

    def __iter__(self) -> Iterator[Shard]:
        begin = self.epoch * self.steps_per_epoch
        for place in range(self.start_step, self.steps_per_epoch, BLOCK):
            steps = range(begin + place, begin + min(place + BLOCK, self.steps_per_epoch))
            yield from self.shards(steps, self.own)


class BucketedDistributedSampler(ShardSampler):
    """Shards of neighbours in length. Over all ranks, each sequence comes exactly once an epoch. Without `shuffle`, the
    longest come first."""

    def arrange(self, dataset: SequenceDataset, batch: BatchConfig) -> None:
        size = {"shards": batch.shards, "tokens": batch.tokens, "rows": batch.rows}
        self.plan = Plan(dataset.by_length, **size, seed=self.seed if self.shuffle else None)

    @property
    def steps_per_epoch(self) -> int:
        return len(self.plan)

    def shards(self, steps: range, numbers: range) -> Iterator[Shard]:
        epoch, place = divmod(steps.start, self.steps_per_epoch)
        wholes = self.plan.steps(range(place, place + len(steps)), epoch=epoch)
        cuts = [self.plan.cuts(whole)[numbers.start : numbers.stop + 1].tolist() for whole in wholes]
        positions = [np.arange(*shard) for own in cuts for shard in pairwise(own)]
        rows = self.plan.sequences(np.concatenate(positions), epoch=epoch)
        parts = iter(np.split(rows, np.cumsum([len(part) for part in positions])[:-1]))
        for step, whole in zip(steps, wholes, strict=True):
            sizes = self.plan.shards_of(whole, epoch=epoch)
            for number in numbers:
                yield Shard(step, number, next(parts), None, sizes)

    def largest_shard(self) -> Shard:
        step, largest = self.plan.largest_shard()
        rows = self.plan.by_length.order[np.arange(*largest)].astype(np.int64)
        sizes = self.plan.shards_of(step, epoch=0)
        padded = largest.rows * self.plan.by_length.longest(np.array([largest.start]), np.array([largest.stop]))
        return Shard(0, 0, rows, None, sizes._replace(padded_tokens=np.maximum(sizes.padded_tokens, padded)))


class StatefulDistributedSampler(ShardSampler):
    """Each shard has `batch.rows` lanes. Each epoch concatenates the documents, in its own order, and cuts them into
    segments of `batch.bptt` time steps; the last segment of a document may be shorter. Each lane reads an equal
    share of the segments, one in each step. A segment `continues` if it follows the lane's last one in the same document."""

    def arrange(self, dataset: SequenceDataset, batch: BatchConfig) -> None:
        self.lengths = np.diff(dataset.sequences.offsets) - 1
        self.bptt, self.rows, self.num_shards = batch.bptt, batch.rows, batch.shards
        self.segments_of = -(-self.lengths // batch.bptt)
        self.num_segments, self.num_lanes = int(self.segments_of.sum()), batch.shards * batch.rows

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.num_segments // self.num_lanes)

    def shards(self, steps: range, numbers: range) -> Iterator[Shard]:
        epoch, first = divmod(steps.start, self.steps_per_epoch)
        for place, step in enumerate(steps, first):
            documents, segments = self._lanes(epoch, place)
            sizes = self._sizes(segments)
            for number in numbers:
                own = slice(number * self.rows, (number + 1) * self.rows)
                read = Segments(segments.begin[own], segments.length[own], segments.continues[own])
                yield Shard(step, number, documents[own], read, sizes)

    def largest_shard(self) -> Shard:
        # All shards have the same size, except in the last step of an epoch.
        return next(self.shards(range(1), range(1)))

    def _lanes(self, epoch: int, place: int) -> tuple[NDArray[np.int64], Segments]:
        """For each lane, the document and the segment that it reads in step `place` of `epoch`."""
        order, bounds = self._epoch(epoch)
        starts = self.num_segments * np.arange(self.num_lanes + 1) // self.num_lanes
        inside = starts[:-1] + place < starts[1:]
        segment = np.where(inside, starts[:-1] + place, starts[:-1])
        position = np.searchsorted(bounds, segment, side="right") - 1
        document = order[position]
        begin = (segment - bounds[position]) * self.bptt
        length = np.where(inside, np.minimum(self.bptt, self.lengths[document] - begin), 0)
        return document, Segments(begin, length, inside & (begin > 0) & (place > 0))

    def _sizes(self, segments: Segments) -> ShardSizes:
        length = segments.length.reshape(self.num_shards, self.rows)
        tokens = length.sum(1)
        begun = (length > 0) & (segments.begin.reshape(length.shape) == 0)
        return ShardSizes((length > 0).sum(1), tokens, self.rows * length.max(1).clip(1), tokens, begun.sum(1))

    @lru_cache(maxsize=2)  # noqa: B019  # a sampler lives as long as its run
    def _epoch(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The documents in the order of `epoch`, and the number of the first segment of each."""
        order: NDArray[np.int64] = np.arange(len(self.lengths))
        if self.shuffle:
            order = permute(order, len(order), derive_seed(self.seed, "documents", epoch))
        return order, np.concatenate(([0], np.cumsum(self.segments_of[order])))
