"""The plan at any size: little padding, little memory."""

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
def test_the_largest_shard_is_the_largest(lengths: list[int], shards: int, tokens: int, rows: int) -> None:
    batch = BatchConfig(shards=shards, tokens=tokens, rows=rows)
    sampler = BucketedDistributedSampler(dataset_of(lengths), batch, num_replicas=1, rank=0)
    own = [lengths[row] for row in sampler.largest_shard().sequences]
    everything = [[lengths[row] for row in shard.sequences] for shard in sampler]
    assert len(own) * max(own) == max(len(part) * max(part, default=0) for part in everything)


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
    assert len(shard.sequences) == sizes.rows[1023] > 0


def test_padding_and_memory_do_not_grow() -> None:
    """A million sequences: little padding, and a plan of a few kilobytes beside the order of the rows."""
    lengths = np.random.default_rng(0).integers(1, 200, 10**6)
    plan = Plan(LengthOrder.of(lengths), shards=4, tokens=4096, rows=512)
    assert len(plan._run_start) <= 400
    shards = [plan.shards_of(plan.step(step)) for step in range(0, len(plan), 50)]
    padded = sum(int(sizes.padded_tokens.sum()) for sizes in shards)
    real = sum(int(sizes.tokens.sum()) for sizes in shards)
    assert 1 - real / padded < 0.01
