"""The tree over any number of shards, however they are spread over ranks."""

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.tree import Subtree, TreeSum, shards_of, subtrees_of, wasted_share

Shards = st.integers(1, 70)


def slow_tree(shards: range, level: int) -> str:
    """The sum of a subtree, written out from the top: the left half is full, the right half may be incomplete or empty."""
    if level == 0:
        return str(shards.start)
    middle = shards.start + 2 ** (level - 1)
    left, right = range(shards.start, min(middle, shards.stop)), range(middle, shards.stop)
    if not right:
        return slow_tree(left, level - 1)
    return f"({slow_tree(left, level - 1)}+{slow_tree(right, level - 1)})"


def tree() -> TreeSum[str]:
    return TreeSum(lambda left, right: f"({left}+{right})")


@given(Shards)
def test_one_rank_adds_the_tree(shards: int) -> None:
    whole = tree()
    for shard in range(shards):
        whole.push(Subtree(0, shard), str(shard))
    assert whole.total() == slow_tree(range(shards), shards.bit_length())


@given(Shards, st.data())
def test_ranks_add_the_same_tree(shards: int, data: st.DataObject) -> None:
    world_size = data.draw(st.integers(1, shards))
    ranks = [shards_of(rank, world_size, shards) for rank in range(world_size)]
    assert list(chain(*ranks)) == list(range(shards))
    assert {len(own) for own in ranks} <= {shards // world_size, -(-shards // world_size)}
    whole = tree()
    for own in ranks:
        local = tree()
        for shard in own:
            local.push(Subtree(0, shard), str(shard))
        assert [subtree for subtree, _ in local.parts] == subtrees_of(own)
        assert len(local.parts) <= max(1, 2 * len(own).bit_length())
        for subtree, value in local.parts:
            whole.push(subtree, value)
    assert whole.total() == slow_tree(range(shards), shards.bit_length())


@pytest.mark.parametrize(("ranks", "shards", "waste"), [(1, 4, 0), (2, 4, 0), (3, 4, 2 / 6), (4, 4, 0), (5, 8, 2 / 10)])
def test_wasted_share(ranks: int, shards: int, waste: float) -> None:
    assert wasted_share(ranks, shards) == pytest.approx(waste)
