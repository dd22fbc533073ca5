"""The plan at any size: little padding, little memory."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.plan import Virtual
from seq.config import BatchConfig
from seq.data.order import LengthOrder
from seq.data.plan import Plan
from seq.data.sampler import BucketedDistributedSampler
from tests.seq.data.test_sampler import Lengths, Shards, dataset_of


@given(Lengths, Shards, st.integers(40, 200), st.integers(1, 16))
def test_the_largest_step_is_the_largest(lengths: list[int], shards: int, tokens: int, rows: int) -> None:
    batch = BatchConfig(shards=shards, tokens=tokens, rows=rows)
    sampler = BucketedDistributedSampler(dataset_of(lengths), batch, num_replicas=1, rank=0)
    largest, padded = sampler.largest(range(shards)), []
    own = [lengths[row] for row in largest.sequences if row >= 0]
    for epoch in range(4):
        sampler.set_epoch(epoch)
        padded += [shard.sizes.padded_tokens for shard in sampler]
    assert len(own) <= shards * max(1, rows)
    assert largest.sizes.shape == (len(largest.sequences) // shards, max(own))
    assert max(padded) <= largest.sizes.padded_tokens <= max(tokens, max(own))


Pairs = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=200)


@given(Pairs, st.integers(1, 6), st.integers(60, 200), st.integers(1, 16), st.integers(0, 3))
def test_pairs_come_once_within_the_budget(
    pairs: list[tuple[int, int]], shards: int, tokens: int, rows: int, epoch: int
) -> None:
    """Of pairs, both sides are padded and counted; the sizes of all shards are known without looking at the rows."""
    table = np.array(pairs)
    plan = Plan(LengthOrder.of(table), shards=shards, tokens=tokens, rows=rows, seed=1)
    seen, largest = list[int](), 0
    for step in plan.steps(range(len(plan)), epoch=epoch):
        cuts, sizes = plan.cuts(step), plan.shards_of(step, epoch=epoch)
        parts = [plan.sequences(np.arange(*cut), epoch=epoch) for cut in pairwise(cuts.tolist())]
        for number, chosen in enumerate(parts):
            own = table[chosen] if len(chosen) else np.zeros((1, 2), np.int64)
            expected = [len(chosen), own.sum(), own[:, 1].sum(), len(chosen)]
            assert [int(part[number]) for part in sizes[:4]] == expected
        most = max(map(len, parts))
        assert sizes.shape == (most, *table[np.concatenate(parts)].max(0))
        assert most <= max(1, rows)
        assert sizes.padded_tokens <= tokens or most == 1
        seen, largest = seen + np.concatenate(parts).tolist(), max(largest, sizes.padded_tokens)
    assert sorted(seen) == list(range(len(pairs)))
    found = plan.largest_step()
    rows_of_shard = -(-found.rows // shards)
    assert rows_of_shard * int(table[plan.by_length.order[found.start : found.stop]].max(0).sum()) >= largest


def test_padding_of_pairs() -> None:
    """Words and their sounds: two lengths that go together, from 3 to 25 and 2 to 22."""
    random = np.random.default_rng(0)
    source = random.normal(8.5, 2.3, 100_000).round().clip(3, 25)
    pairs = np.column_stack((source, (source - 1 + random.normal(0, 1.2, len(source))).round().clip(2, 22)))
    plan = Plan(LengthOrder.of(pairs), shards=4, tokens=1024, rows=64, seed=0)
    sizes = [plan.shards_of(step, epoch=0) for step in plan.steps(range(len(plan)), epoch=0)]
    assert 1 - sum(float(step.tokens.mean()) for step in sizes) / sum(step.padded_tokens for step in sizes) < 0.03


def test_planning_for_a_billion_sequences() -> None:
    """A step of 1,024 shards is planned from the histogram alone."""
    sampler = BucketedDistributedSampler(
        Virtual(10**9),  # type: ignore[arg-type]
        BatchConfig(shards=1024, tokens=8192),
        num_replicas=1024,
        rank=1023,
    )
    sampler.seek(3 * sampler.steps_per_epoch + 12345)
    shard = next(iter(sampler))
    sizes = shard.sizes
    assert int(sizes.tokens.max()) <= 8192
    assert (shard.sequences >= 0).sum() == sizes.rows[1023] > 0


def test_padding_and_memory_do_not_grow() -> None:
    """A million sequences: little padding, and a plan of a few kilobytes beside the order of the rows."""
    lengths = np.random.default_rng(0).integers(1, 200, 10**6)
    plan = Plan(LengthOrder.of(lengths), shards=4, tokens=4096, rows=512, seed=0)
    assert len(plan._runs(0).start) <= 400
    shards = [plan.shards_of(step, epoch=0) for step in plan.steps(range(len(plan)), epoch=0)[::50]]
    padded = sum(sizes.padded_tokens for sizes in shards)
    real = sum(float(sizes.tokens.mean()) for sizes in shards)
    assert 1 - real / padded < 0.01
