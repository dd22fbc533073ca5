"""A DataLoader over the sampler's shards, and the batches of a run, step by step."""

from collections.abc import Iterator
from itertools import islice

from torch.utils.data import DataLoader

from launch.preemption import ignore_signals
from seq.config import BatchConfig, TrainConfig
from seq.data.dataset import Batch, SequenceDataset
from seq.data.sampler import BucketedDistributedSampler, ShardSampler
from seq.data.stream import StreamDistributedSampler


def make_sampler(dataset: SequenceDataset, batch: BatchConfig, *, seed: int) -> ShardSampler:
    """In the order that the config asks for."""
    kind = StreamDistributedSampler if batch.order == "stream" else BucketedDistributedSampler
    return kind(dataset, batch, seed=seed)


def make_loader(dataset: SequenceDataset, sampler: ShardSampler, *, ahead: bool) -> DataLoader[Batch]:
    """`batch_size=None`: the data set returns whole batches. `ahead`: a worker process gathers into pinned memory
    while the device computes; on a CPU it would only compete for the cores."""
    return DataLoader(
        dataset,
        batch_size=None,
        sampler=sampler,
        num_workers=int(ahead),
        pin_memory=ahead,
        worker_init_fn=ignore_signals,
    )


def total_steps(train: TrainConfig, sampler: ShardSampler) -> int:
    """Of the whole run."""
    return train.steps or train.epochs * sampler.steps_per_epoch


def epoch_steps(loader: DataLoader[Batch], shards_per_rank: int) -> Iterator[list[Batch]]:
    """What remains of the sampler's epoch: for each step, this rank's shards."""
    batches = iter(loader)
    while shards := list(islice(batches, shards_per_rank)):
        yield shards


def run_steps(loader: DataLoader[Batch], sampler: ShardSampler, *, start: int, stop: int) -> Iterator[list[Batch]]:
    """This rank's shards of the steps `start` to `stop - 1` of the run, through as many epochs as that takes."""
    while start < stop:
        sampler.seek(start)
        for shards in islice(epoch_steps(loader, sampler.shards_per_rank), stop - start):
            yield shards
            start += 1
