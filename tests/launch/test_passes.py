"""A pass gives each shard its own randomness and its own gradient; shards are added in the tree."""

import gc
import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from launch.passes import chance, one_pass, shards_in_pass, spread
from launch.tree import Subtree, TreeSum, passes_of, shards_of, subtree_of, subtrees_of

CPU = torch.device("cpu")


def values_of(shard: int) -> Tensor:
    """Of very different magnitude: another order of adding gives other bits."""
    generator = torch.Generator().manual_seed(shard)
    return torch.randn(13, generator=generator) * 10 ** torch.randn(13, generator=generator)


def test_the_gradient_of_a_pass_is_the_sum_in_the_tree() -> None:
    weight = nn.Parameter(torch.ones(13))
    with one_pass(1, 0, range(4, 8), CPU):
        assert shards_in_pass() == 4
        both = spread([weight], torch.float32)[0] + spread([weight], torch.float64)[0].float()  # two uses, two types
        (both * torch.stack([values_of(shard) for shard in range(4, 8)])).sum().backward()  # type: ignore[no-untyped-call]
    s = {shard: values_of(shard) + values_of(shard) for shard in range(4, 8)}
    assert weight.grad is not None
    assert torch.equal(weight.grad, (s[4] + s[5]) + (s[6] + s[7]))
    assert shards_in_pass() == 1
    assert torch.equal(spread([weight], torch.float32)[0][0], weight)


def test_what_was_spread_is_freed() -> None:
    """Weights cast to bf16 were kept by each step, until the memory was full."""
    weight = nn.Parameter(torch.ones(13))
    with one_pass(1, 0, range(2), CPU) as own:
        used = spread([weight], torch.bfloat16)[0]
        used.sum().backward()  # type: ignore[no-untyped-call]
        kept = weakref.ref(own)
    del own, used
    gc.collect()
    assert kept() is None


@given(st.integers(1, 5), st.integers(1, 40), st.floats(0, 1), st.integers(0, 1000))
def test_each_shard_draws_its_own(rows: int, columns: int, probability: float, step: int) -> None:
    with one_pass(3, step, range(4, 8), CPU):
        together = [chance((4 * rows, columns), probability, CPU) for _ in range(2)]
    for shard in range(4, 8):
        own = slice((shard - 4) * rows, (shard - 3) * rows)
        with one_pass(3, step, range(shard, shard + 1), CPU):
            assert all(torch.equal(drawn[own], chance((rows, columns), probability, CPU)) for drawn in together)


@pytest.mark.parametrize("probability", [0.0, 1e-6, 0.1, 0.5, 0.9, 1.0])
def test_chances(probability: float) -> None:
    with one_pass(1, 2, range(2), CPU):
        drawn = chance((2, 500_000), probability, CPU)
        assert not torch.equal(drawn[0], chance((2, 500_000), probability, CPU)[0]) or probability in (0, 1e-6, 1)
    assert drawn.float().mean().item() == pytest.approx(probability, abs=2e-3)
    assert probability not in (0.0, 1.0) or (drawn == bool(probability)).all()


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 40))
def test_passes_are_subtrees(shards: int, world_size: int, most: int) -> None:
    for rank in range(world_size):
        own = shards_of(rank, world_size, shards)
        passes = passes_of(own, most)
        assert [shard for one in passes for shard in one] == list(own)
        assert all(len(one) <= max(1, most) for one in passes)
        for one in passes:
            level, number = subtree_of(one)
            assert one == range(number << level, (number + 1) << level)
        tree: TreeSum[None] = TreeSum(lambda left, right: None)
        for shard in own:
            tree.push(Subtree(0, shard), None)
        assert subtrees_of(own) == [subtree for subtree, _ in tree.parts]
