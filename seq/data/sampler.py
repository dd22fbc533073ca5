"""`BucketedDistributedSampler`: a DistributedSampler whose items are shards of neighbours in length."""

from collections.abc import Iterator

from torch.utils.data import DistributedSampler

from seq.config import BatchConfig
from seq.data.dataset import SequenceDataset
from seq.data.plan import Piece, Pieces, Plan, Shard


class BucketedDistributedSampler(DistributedSampler[Shard]):
    """Yields, step by step, the shards of this rank: rank r of W has the shards [r V/W, (r + 1) V/W).

    Over the ranks, each sequence comes exactly once an epoch, and each rank has the same number of steps. What comes
    depends on (lengths, seed, epoch, batch); the rank and the world size only say who gets it. Without `shuffle`,
    the longest come first. Raises ValueError if the world size does not divide the number of shards.
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
        self.plan = Plan(dataset.line, shards=batch.shards, tokens=batch.tokens, rows=batch.rows)
        self.shards_per_rank = batch.shards // self.num_replicas
        self.start_step = 0

    @property
    def steps_per_epoch(self) -> int:
        return len(self.plan)

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
        for place in range(self.start_step, self.steps_per_epoch):
            step = self.epoch * self.steps_per_epoch + place
            yield from self.shards(step, range(first, first + self.shards_per_rank))

    def shards(self, step: int, numbers: range) -> Iterator[Shard]:
        """The shards `numbers` of `step` of the run, whichever ranks they belong to."""
        whole, epoch = self._whole(step), step // self.steps_per_epoch
        for number in numbers:
            piece = self.plan.shard_of(whole, number)
            rows = self.plan.sequences(piece, seed=self.seed if self.shuffle else None, epoch=epoch)
            yield Shard(step, number, rows, whole)

    def shards_of(self, step: int) -> Pieces:
        """The V shards of `step` of the run, on all ranks: how many rows and tokens each has."""
        return self.plan.shards_of(self._whole(step))

    def largest_shard(self) -> Shard:
        """The one with the most padded tokens of all steps, as a shard of step 0."""
        piece = self.plan.largest_shard()
        return Shard(0, 0, self.plan.sequences(piece, seed=None, epoch=0), piece)

    def _whole(self, step: int) -> Piece:
        epoch, place = divmod(step, self.steps_per_epoch)
        if not self.shuffle:
            return self.plan.step(place)
        return self.plan.shuffled_step(place, seed=self.seed, epoch=epoch)
