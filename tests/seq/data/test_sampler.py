"""The plan's promises: each sequence exactly once, equal step counts, the budget kept, at any size and world size."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seq.config import BatchConfig
from seq.data.dataset import SequenceDataset
from seq.data.plan import PassRequest
from seq.data.ragged import RaggedArray
from seq.data.sampler import BucketedDistributedSampler, pad_shard
from seq.data.split import Split
from seq.tasks import TASKS

Lengths = st.lists(st.integers(1, 40), min_size=1, max_size=300)


Shards = st.sampled_from([1, 2, 3, 4, 6, 8])


def dataset_of(lengths: list[int]) -> SequenceDataset:
    """A language model's data set: a token of context, then `length` targets."""
    offsets = np.concatenate(([0], np.cumsum(np.array(lengths) + 1)))
    sequences = RaggedArray(np.arange(offsets[-1]) % 250 + 1, offsets)
    return SequenceDataset(Split.of(sequences, None, 0, TASKS["language_modeling"]))


def all_shards(
    lengths: list[int], batch: BatchConfig, world_size: int, epoch: int, seed: int = 5
) -> list[list[PassRequest]]:
    """For each rank the shards of one epoch."""
    dataset = dataset_of(lengths)
    result = []
    for rank in range(world_size):
        sampler = BucketedDistributedSampler(dataset, batch, num_replicas=world_size, rank=rank, seed=seed)
        sampler.set_epoch(epoch)
        assert len(sampler) == len(list(sampler))
        result.append(list(sampler))
    return result


def rows_of(shards: PassRequest) -> list[int]:
    """Without padding."""
    return [row for row in shards.sequences.tolist() if row >= 0]


@given(Lengths, Shards, st.integers(1, 3))
def test_any_list_of_lengths(lengths: list[int], shards: int, world_size: int) -> None:
    """Over the ranks, each sequence comes once an epoch, whole, and all shards of a step have one shape."""
    world_size = min(world_size, shards)
    sequences, seen, shapes = [torch.arange(1, length + 1) for length in lengths], list[int](), list[set[object]]()
    for rank in range(world_size):
        sampler = BucketedDistributedSampler.of(
            lengths, shards=shards, tokens=100, num_replicas=world_size, rank=rank, seed=3
        )
        for step in range(sampler.steps_per_epoch):
            shapes += [set()] * (step == len(shapes))
            for request in sampler.of_step(step):
                padded, own = pad_shard(request, sequences)
                assert (padded > 0).sum(1).tolist() == own.tolist()
                assert own.tolist() == [lengths[row] if row >= 0 else 0 for row in request.sequences.tolist()]
                assert own.sum() == request.sizes.tokens[request.numbers.start]
                shapes[step] = shapes[step] | {padded.shape}
                seen += rows_of(request)
    assert sorted(seen) == list(range(len(lengths)))
    assert all(len(found) == 1 for found in shapes)


def test_lengths_must_be_there() -> None:
    for lengths in ([], [3, 0], [[1]]):
        with pytest.raises(ValueError, match="at least one"):
            BucketedDistributedSampler.of(lengths, shards=1, tokens=9, num_replicas=1, rank=0)  # type: ignore[arg-type]


@given(Lengths, Shards, st.integers(0, 9))
def test_passes_are_the_shards_one_after_another(lengths: list[int], shards: int, most: int) -> None:
    sampler = BucketedDistributedSampler(
        dataset_of(lengths), BatchConfig(shards=shards, rows=4), num_replicas=1, rank=0
    )
    alone = [shard.sequences.tolist() for shard in sampler]
    sampler.most_in_pass = most
    together = list(sampler)
    assert len(together) == len(sampler)
    assert [row for one in together for row in one.sequences.tolist()] == [row for rows in alone for row in rows]
    assert all(len(one.numbers) <= max(1, most) for one in together)


@given(Lengths, Shards, st.integers(40, 200), st.integers(1, 16), st.integers(0, 3))
def test_exactly_once_at_every_world_size(lengths: list[int], shards: int, tokens: int, rows: int, epoch: int) -> None:
    batch = BatchConfig(shards=shards, tokens=tokens, rows=rows)
    alone: dict[tuple[int, int], list[int]] | None = None
    for world_size in [size for size in (1, 2, 3, 5, 8) if size <= shards]:
        ranks = all_shards(lengths, batch, world_size, epoch)
        assert len({tuple(dict.fromkeys(shard.step for shard in rank)) for rank in ranks}) == 1
        everything = [shard for rank in ranks for shard in rank]
        placed = {(shard.step, shard.numbers[0]): rows_of(shard) for shard in everything}
        assert len(placed) == len(everything)
        assert sorted(row for rows in placed.values() for row in rows) == list(range(len(lengths)))
        alone = alone or placed
        assert placed == alone


@given(Lengths, Shards, st.integers(40, 200), st.integers(1, 16))
def test_budget_and_counts(lengths: list[int], shards: int, tokens: int, rows: int) -> None:
    (everything,) = all_shards(lengths, BatchConfig(shards=shards, tokens=tokens, rows=rows), 1, epoch=0)
    by_step: dict[int, list[PassRequest]] = {}
    for shard in everything:
        by_step.setdefault(shard.step, []).append(shard)
        assert len(shard.sequences) == shard.sizes.shape[0] <= rows
        assert len(shard.sequences) * max(lengths[row] for row in rows_of(shard) or [0]) <= tokens
    for parts in by_step.values():
        assert len(parts) == shards
        sizes = [len(rows_of(part)) for part in parts]
        assert max(sizes) - min(sizes) <= 1
        # What every rank is told of the whole step, without communicating.
        assert parts[0].sizes.rows.sum() == sum(sizes)
        read = [lengths[row] for part in parts for row in rows_of(part)]
        assert parts[0].sizes.tokens.sum() == sum(read)
        assert parts[0].sizes.shape == (max(sizes), max(read))


@given(Lengths, st.integers(0, 3), st.data())
def test_seek_is_the_rest_of_the_epoch(lengths: list[int], epoch: int, data: st.DataObject) -> None:
    batch = BatchConfig(shards=2, tokens=40, rows=4)
    sampler = BucketedDistributedSampler(dataset_of(lengths), batch, num_replicas=2, rank=1, seed=5)
    sampler.set_epoch(epoch)
    whole = [(shard.step, shard.sequences.tolist()) for shard in sampler]
    start = data.draw(st.integers(0, sampler.steps_per_epoch - 1))
    sampler.seek(epoch * sampler.steps_per_epoch + start)
    assert [(shard.step, shard.sequences.tolist()) for shard in sampler] == whole[start:]


def test_shapes_known_without_the_rows() -> None:
    lengths = [1 + (7 * row) % 23 for row in range(500)]
    sampler = BucketedDistributedSampler(
        dataset_of(lengths), BatchConfig(shards=4, tokens=100, rows=16), num_replicas=1, rank=0
    )
    sampler.set_epoch(2)
    for shard in sampler:
        sizes = shard.sizes
        own = [lengths[row] for row in rows_of(shard)]
        assert [part[shard.numbers[0]] for part in sizes[:4]] == [len(own), sum(own), sum(own), len(own)]


def test_epochs_and_seeds_differ_and_repeat() -> None:
    lengths = [1 + row % 5 for row in range(400)]
    batch = BatchConfig(shards=4, tokens=64, rows=8)

    def order(epoch: int, seed: int) -> list[list[int]]:
        return [shard.sequences.tolist() for shard in all_shards(lengths, batch, 1, epoch, seed)[0]]

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(1, 1)
    assert order(0, 1) != order(0, 2)


def test_steps_are_shuffled_and_rows_of_a_length_are_mixed() -> None:
    """Sorted and unshuffled costs 2.3 points of accuracy on names."""
    lengths = [1 + row // 40 for row in range(800)]
    (shards,) = all_shards(lengths, BatchConfig(shards=1, tokens=400, rows=8), 1, epoch=0)
    order = [lengths[shard.sequences[0]] for shard in shards]
    assert order != sorted(order)
    assert abs(np.corrcoef(order, np.arange(len(order)))[0, 1]) < 0.4
    assert any(np.ptp(rows_of(shard)) > 8 for shard in shards)


def steps_of(lengths: list[int], batch: BatchConfig, epochs: int) -> list[list[frozenset[int]]]:
    """The rows of each step of each epoch."""
    sampler = BucketedDistributedSampler(dataset_of(lengths), batch, num_replicas=1, rank=0)
    found = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        steps: dict[int, set[int]] = {}
        for shard in sampler:
            steps.setdefault(shard.step, set()).update(rows_of(shard))
        found.append([frozenset(rows) for rows in steps.values()])
    return found


@pytest.mark.parametrize("longest", [200, 400])
def test_steps_do_not_come_again(longest: int) -> None:
    """Where all lengths are different, cuts that stay would give the same steps in each epoch; 1,000 texts, 20 epochs."""
    lengths = np.random.default_rng(0).integers(20, longest, 1000).tolist()
    epochs = steps_of(lengths, BatchConfig(shards=4, tokens=8192, rows=16), 20)
    assert len({len(steps) for steps in epochs}) == 1
    everything = [step for steps in epochs for step in steps]
    assert len(set(everything)) > 0.98 * len(everything)


@given(Lengths, Shards, st.integers(40, 200), st.integers(1, 16))
def test_no_step_but_the_last_is_much_smaller_than_the_first(
    lengths: list[int], shards: int, tokens: int, rows: int
) -> None:
    """A step of few rows would give each of them more weight."""
    sampler = BucketedDistributedSampler(
        dataset_of(lengths), BatchConfig(shards=shards, tokens=tokens, rows=rows), num_replicas=1, rank=0
    )
    for epoch in range(3):
        steps = sorted(sampler.plan.steps(range(len(sampler.plan)), epoch=epoch))
        assert all(step.rows >= steps[0].rows // 2 for step in steps[:-1])
        assert [step.start for step in steps[1:]] == [step.stop for step in steps[:-1]]


def test_mixing_costs_at_most_a_percent_of_padding() -> None:
    lengths = np.random.default_rng(0).integers(20, 400, 1000).tolist()
    batch, shares = BatchConfig(shards=4, tokens=8192, rows=16), list[float]()
    for shuffle in (False, True):
        sampler = BucketedDistributedSampler(dataset_of(lengths), batch, num_replicas=1, rank=0, shuffle=shuffle)
        sizes = [shard.sizes for shard in sampler]
        shares.append(sum(size.padded_tokens for size in sizes) / sum(lengths))
    assert shares[1] < shares[0] + 0.01


def test_no_more_ranks_than_shards() -> None:
    with pytest.raises(ValueError, match="world size 5 is more than 4 shards"):
        BucketedDistributedSampler(dataset_of([1]), BatchConfig(shards=4), num_replicas=5, rank=0)
