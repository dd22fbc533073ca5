"""DistributedSamplers whose items are the shards of a pass: bucketed by length, or in stateful order."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DistributedSampler

from launch.seeding import derive_seed
from launch.tree import passes_of, shards_of
from seq.config import BatchConfig
from seq.data.dataset import SequenceDataset
from seq.data.order import LengthOrder, permute
from seq.data.plan import PassRequest, Plan, Segments, ShardSizes
from seq.data.ragged import Ints

BLOCK = 32
"""Steps that are looked up together, so that they share the fixed cost of a vectorised shuffle."""


class ShardSampler(DistributedSampler[PassRequest], ABC):
    """The base of both orders: rank r of W gets a contiguous part of each step's shards (`launch.tree.shards_of`), so all ranks
    have the same number of steps. The shards depend on (data, seed, epoch, batch); rank and world size only decide who gets them, and
    `most_in_pass` how many of them come together. ValueError if there are more ranks than shards.
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
        self.start_step, self.most_in_pass = 0, 1
        self.arrange(dataset, batch)

    @abstractmethod
    def arrange(self, dataset: SequenceDataset, batch: BatchConfig) -> None:
        """Prepare what the order needs to know about the data."""

    @property
    @abstractmethod
    def steps_per_epoch(self) -> int:
        """Steps in an epoch: the same number in every epoch and on every rank."""

    @property
    def passes(self) -> list[range]:
        """This rank's shards of a step, pass by pass."""
        return passes_of(self.own, self.most_in_pass)

    @abstractmethod
    def shards(self, steps: range, passes: list[range]) -> Iterator[PassRequest]:
        """For each of `steps` of the run, which are all in one epoch, the shards of each of `passes`; of any rank."""

    @abstractmethod
    def largest(self, numbers: range) -> PassRequest:
        """The shards `numbers` of a step with the most padded tokens, as shards of step 0."""

    def of_step(self, step: int) -> list[PassRequest]:
        """This rank's shards of one step of the run, pass by pass."""
        return list(self.shards(range(step, step + 1), self.passes))

    def seek(self, step: int) -> None:
        """The next pass begins at `step` of the run, also in the middle of an epoch. Takes no time."""
        self.epoch, self.start_step = divmod(step, self.steps_per_epoch)

    def set_epoch(self, epoch: int) -> None:
        """The next pass is the whole of `epoch`."""
        self.epoch, self.start_step = epoch, 0

    def __len__(self) -> int:
        return (self.steps_per_epoch - self.start_step) * len(self.passes)

    def __iter__(self) -> Iterator[PassRequest]:
        begin = self.epoch * self.steps_per_epoch
        for place in range(self.start_step, self.steps_per_epoch, BLOCK):
            steps = range(begin + place, begin + min(place + BLOCK, self.steps_per_epoch))
            yield from self.shards(steps, self.passes)


class BucketedDistributedSampler(ShardSampler):
    """PassRequest of neighbours in length. Over all ranks, each sequence comes exactly once an epoch. Without `shuffle`, the
    longest come first."""

    @classmethod
    def of(cls, lengths: Sequence[int], *, shards: int, tokens: int, rows: int = 512, **options: Any) -> Self:
        """Make a sampler for any data set, from the time steps of each sequence, all at least 1. `tokens`, `rows`: most in a shard, with
        padding; a longer sequence is a shard of its own. `options`: as of the class. `pad_shard` makes the batches."""
        counts = np.asarray(lengths, dtype=np.int64)
        if counts.ndim != 1 or not len(counts) or counts.min() < 1:
            raise ValueError("lengths: give at least one sequence, each of at least one time step")
        batch = BatchConfig(shards=shards, tokens=tokens, rows=rows)
        return cls(_Lengths(LengthOrder.of(counts)), batch, **options)  # type: ignore[arg-type]

    def arrange(self, dataset: SequenceDataset, batch: BatchConfig) -> None:
        size = {"shards": batch.shards, "tokens": batch.tokens, "rows": batch.rows}
        self.plan = Plan(dataset.by_length, **size, seed=self.seed if self.shuffle else None)

    @property
    def steps_per_epoch(self) -> int:
        return len(self.plan)

    def shards(self, steps: range, passes: list[range]) -> Iterator[PassRequest]:
        epoch, place = divmod(steps.start, self.steps_per_epoch)
        wholes = self.plan.steps(range(place, place + len(steps)), epoch=epoch)
        numbers = range(passes[0].start, passes[-1].stop)
        cuts = [self.plan.cuts(whole)[numbers.start : numbers.stop + 1] for whole in wholes]
        found = self.plan.sequences(np.concatenate([np.arange(*own[[0, -1]]) for own in cuts]), epoch=epoch)
        for step, whole, own in zip(steps, wholes, cuts, strict=True):
            sizes, (here, found) = self.plan.shards_of(whole, epoch=epoch), np.split(found, [own[-1] - own[0]])
            rows = _in_rows(here, np.diff(own), sizes.shape[0])
            for shards in passes:
                yield PassRequest(
                    step, shards, rows[shards.start - numbers.start : shards.stop - numbers.start].ravel(), None, sizes
                )

    def largest(self, numbers: range) -> PassRequest:
        step = self.plan.largest_step()
        cuts, sizes = self.plan.cuts(step), self.plan.shards_of(step, epoch=0)
        found = self.plan.by_length.order[step.start : step.stop].astype(np.int64)
        rows = _in_rows(found, np.diff(cuts), sizes.shape[0])
        sizes = sizes._replace(shape=(sizes.shape[0], *self.plan.by_length.longest(*step)))
        return PassRequest(0, numbers, rows[numbers.start : numbers.stop].ravel(), None, sizes)


@dataclass(frozen=True)
class _Lengths:
    """All that the bucketed order needs of a data set."""

    by_length: LengthOrder

    def __len__(self) -> int:
        return len(self.by_length)


def pad_shard(request: PassRequest, sequences: Sequence[Tensor], padding: float = 0) -> tuple[Tensor, Tensor]:
    """The batch (S * B, T) that is asked for, and its lengths (S * B,), from `sequences` (T,) each. A row that is not there has the
    length 0. All shards of a step have one shape at every number of processes, so do not cut the padding off."""
    rows = request.sequences.tolist()
    padded = sequences[0].new_full((len(rows), *request.sizes.shape[1:]), padding)
    for place, row in enumerate(rows):
        if row >= 0:
            padded[place, : len(sequences[row])] = sequences[row]
    return padded, torch.tensor([0 if row < 0 else len(sequences[row]) for row in rows])


def _in_rows(sequences: Ints, counts: Ints, most: int) -> NDArray[np.int64]:
    """(S, most): the sequences of S shards with `counts` (S,) each, and -1 after them."""
    rows = np.full((len(counts), most), -1)
    rows[np.arange(most) < counts[:, None]] = sequences
    return rows


class StatefulDistributedSampler(ShardSampler):
    """Each shard has `batch.rows` lanes. Each epoch concatenates the documents, in its own order, and cuts them into
    segments of `batch.bptt` time steps; the last segment of a document may be shorter. Each lane reads an equal
    share of the segments, one in each step. A segment `continues` if it follows the lane's last one in the same document, except a random
    `batch.fresh_state` of them."""

    def arrange(self, dataset: SequenceDataset, batch: BatchConfig) -> None:
        self.lengths = np.diff(dataset.sequences.offsets) - 1
        self.bptt, self.rows, self.num_shards = batch.bptt, batch.rows, batch.shards
        self.fresh_state = batch.fresh_state
        self.segments_of = -(-self.lengths // batch.bptt)
        self.num_segments, self.num_lanes = int(self.segments_of.sum()), batch.shards * batch.rows

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.num_segments // self.num_lanes)

    def shards(self, steps: range, passes: list[range]) -> Iterator[PassRequest]:
        epoch, first = divmod(steps.start, self.steps_per_epoch)
        for place, step in enumerate(steps, first):
            documents, segments = self._lanes(epoch, place)
            sizes = self._sizes(segments)
            for shards in passes:
                own = slice(shards.start * self.rows, shards.stop * self.rows)
                read = Segments(segments.begin[own], segments.length[own], segments.continues[own])
                yield PassRequest(step, shards, documents[own], read, sizes)

    def largest(self, numbers: range) -> PassRequest:
        # All steps have the same size, except the last of an epoch.
        return next(self.shards(range(1), [numbers]))

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
        continues = inside & (begin > 0) & (place > 0) & ~self._fresh(epoch, place)
        return document, Segments(begin, length, continues)

    def _fresh(self, epoch: int, place: int) -> NDArray[np.bool_]:
        """The lanes whose state becomes zero in step `place` of `epoch`."""
        seed = derive_seed(self.seed, "fresh state", epoch, place)
        return np.random.Generator(np.random.Philox(seed)).random(self.num_lanes) < self.fresh_state

    def _sizes(self, segments: Segments) -> ShardSizes:
        length = segments.length.reshape(self.num_shards, self.rows)
        tokens = length.sum(1)
        begun = (length > 0) & (segments.begin.reshape(length.shape) == 0)
        return ShardSizes((length > 0).sum(1), tokens, tokens, begun.sum(1), (self.rows, int(length.max())))

    @lru_cache(maxsize=2)  # noqa: B019  # a sampler lives as long as its run
    def _epoch(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The documents in the order of `epoch`, and the number of the first segment of each."""
        order: NDArray[np.int64] = np.arange(len(self.lengths))
        if self.shuffle:
            order = permute(order, len(order), derive_seed(self.seed, "documents", epoch))
        return order, np.concatenate(([0], np.cumsum(self.segments_of[order])))
