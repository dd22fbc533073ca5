"""DistributedSamplers whose items are shards: what all orders share, and `BucketedDistributedSampler`."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from torch.utils.data import DistributedSampler

from seq.config import BatchConfig
from seq.data.dataset import SequenceDataset
from seq.data.plan import Plan, Shard

BLOCK = 32
"""Steps that are looked up together: the fixed cost of a vectorised shuffle is shared."""


class ShardSampler(DistributedSampler[Shard], ABC):
    """What every order shares: rank r of W gets the shards [r V/W, (r + 1) V/W) of each step, so each rank has the same
    number of steps. What comes depends on (data, seed, epoch, batch); the rank and the world size only say who gets
    it. Raises ValueError if the world size does not divide the number of shards.
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
        if batch.shards % self.num_replicas:
            raise ValueError(f"world size {self.num_replicas} does not divide {batch.shards} shards")
        self.shards_per_rank = batch.shards // self.num_replicas
        self.start_step = 0
        self.arrange(dataset, batch)

    @abstractmethod
    def arrange(self, dataset: SequenceDataset, batch: BatchConfig) -> None:
        """What an order needs to know of the data."""

    @property
    @abstractmethod
    def steps_per_epoch(self) -> int:
        """The same in every epoch and on every rank."""

    @abstractmethod
    def shards(self, steps: range, numbers: range) -> Iterator[Shard]:
        """The shards `numbers` of `steps` of the run, all of one epoch, whichever ranks they belong to."""

    @abstractmethod
    def largest_shard(self) -> Shard:
        """The one with the most padded tokens of all steps, as a shard of step 0."""

    def seek(self, step: int) -> None:
        """Make the next pass begin at `step` of the run, in the middle of its epoch if need be. Costs nothing."""
        self.epoch, self.start_step = divmod(step, self.steps_per_epoch)

    def set_epoch(self, epoch: int) -> None:
        """The next pass is the whole of `epoch`."""
        self.epoch, self.start_step = epoch, 0

    def __len__(self) -> int:
        return (self.steps_per_epoch - self.start_step) * self.shards_per_rank

    def __iter__(self) -> Iterator[Shard]:
        first = self.rank * self.shards_per_rank
        begin = self.epoch * self.steps_per_epoch
        for place in range(self.start_step, self.steps_per_epoch, BLOCK):
            steps = range(begin + place, begin + min(place + BLOCK, self.steps_per_epoch))
            yield from self.shards(steps, range(first, first + self.shards_per_rank))


class BucketedDistributedSampler(ShardSampler):
    """Shards of neighbours in length: over the ranks, each sequence comes exactly once an epoch. Without `shuffle`, the
    longest come first."""

    def arrange(self, dataset: SequenceDataset, batch: BatchConfig) -> None:
        self.plan = Plan(dataset.line, shards=batch.shards, tokens=batch.tokens, rows=batch.rows)

    @property
    def steps_per_epoch(self) -> int:
        return len(self.plan)

    def shards(self, steps: range, numbers: range) -> Iterator[Shard]:
        epoch, place = divmod(steps.start, self.steps_per_epoch)
        seed = self.seed if self.shuffle else None
        wholes = self.plan.shuffled_steps(range(place, place + len(steps)), seed=seed, epoch=epoch)
        cuts = [self.plan.cuts(whole)[numbers.start : numbers.stop + 1].tolist() for whole in wholes]
        positions = [np.arange(*shard) for own in cuts for shard in pairwise(own)]
        rows = self.plan.sequences(np.concatenate(positions), seed=seed, epoch=epoch)
        parts = iter(np.split(rows, np.cumsum([len(part) for part in positions])[:-1]))
        for step, whole in zip(steps, wholes, strict=True):
            pieces = self.plan.shards_of(whole)
            for number in numbers:
                yield Shard(step, number, next(parts), None, pieces)

    def largest_shard(self) -> Shard:
        piece = self.plan.largest_shard()
        rows = self.plan.sequences(np.arange(piece.start, piece.stop), seed=None, epoch=0)
        return Shard(0, 0, rows, None, self.plan.shards_of(piece))
