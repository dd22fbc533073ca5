"""This rank's batches of a split, step by step, in the order that the sampler gives."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader

from seq.config import BatchConfig, TrainConfig
from seq.data.dataset import Batch, SequenceDataset
from seq.data.sampler import BucketedDistributedSampler, ShardSampler, StatefulDistributedSampler
from seq.data.split import Split


def steps_per_epoch(split: Split, batch: BatchConfig) -> int:
    """Steps in an epoch of training. It needs no process group."""
    return _sampler(SequenceDataset(split), batch, num_replicas=1, rank=0).steps_per_epoch


def _sampler(dataset: SequenceDataset, batch: BatchConfig, **options: Any) -> ShardSampler:
    kind = StatefulDistributedSampler if batch.order == "stateful" else BucketedDistributedSampler
    return kind(dataset, batch, **options)


def _unchanged(batch: Any) -> Any:
    return batch


class BatchLoader:
    """A data set, its sampler (`batch.order`) and torch's DataLoader. Batches are on the CPU.

    There are no worker processes. A batch is one gather, and nothing in a step waits for the GPU, so the host gathers the next
    batch while the GPU computes. A fork after CUDA and NCCL have started may hang.
    """

    def __init__(self, split: Split, batch: BatchConfig, *, seed: int = 0, shuffle: bool = True) -> None:
        self.dataset = SequenceDataset(split)
        self.sampler = _sampler(self.dataset, batch, seed=seed, shuffle=shuffle)
        self._loader: DataLoader[Batch] = DataLoader(
            self.dataset,
            batch_size=None,  # the data set returns whole batches
            collate_fn=_unchanged,
            sampler=self.sampler,
        )

    @property
    def steps_per_epoch(self) -> int:
        return self.sampler.steps_per_epoch

    def total_steps(self, train: TrainConfig) -> int:
        """The number of steps of the whole run."""
        return train.steps or train.epochs * self.steps_per_epoch

    def steps(self, start: int, stop: int) -> Iterator[list[Batch]]:
        """For each of the steps `start` to `stop - 1` of the run, this rank's shards, pass by pass; through as many epochs as it takes."""
        while start < stop:
            self.sampler.seek(start)
            batches = iter(self._loader)
            while start < stop and (passes := list(islice(batches, len(self.sampler.passes)))):
                yield passes
                start += 1

    def batch_of(self, step: int, shards: range) -> Batch:
        """Some shards of `step` of the run, of any rank."""
        (wanted,) = self.sampler.shards(range(step, step + 1), [shards])
        return self.dataset[wanted]

    def largest_pass(self) -> Batch:
        """The rank's largest pass in the step with the most padded tokens of the plan."""
        return self.dataset[self.sampler.largest(max(self.sampler.passes, key=len))]
