from hypothesis import given
from hypothesis import strategies as st

from launch.tree import share
from launch.vote import Verdict, judge, roles_of

GOOD, BAD, WORSE = (1, 2), (1, 3), (0, 2)


@given(st.integers(1, 9), st.integers(0, 50), st.data())
def test_who_computes_a_shard(world_size: int, step: int, data: st.DataObject) -> None:
    """Every rank that can take part does so at some time; one without shards does not."""
    without = data.draw(st.sets(st.integers(0, world_size - 1), max_size=world_size - 1))
    shards = share(world_size, 9, without=without)
    roles = roles_of(1, step, shards)
    assert roles.shard in shards[roles.owner]
    left = world_size - len(without)
    assert (roles.witness != roles.owner) == (left > 1)
    assert len(set(roles.asked)) == len(roles.asked) == min(3, left)
    assert {roles.owner, roles.witness} <= set(roles.asked) <= set(range(world_size)) - without
    assert roles == roles_of(1, step, shards)


def test_every_shard_and_every_pair_has_its_turn() -> None:
    shards = share(3, 6)
    seen = [roles_of(1, step, shards) for step in range(500)]
    assert {(roles.shard, roles.witness) for roles in seen} == {
        (shard, rank) for shard in range(6) for rank in range(3) if shard not in shards[rank]
    }


def test_the_vote() -> None:
    three, two, one = [0, 1, 0, 1, 2], [0, 1, 0, 1], [0, 0, 0]
    assert judge(three, [BAD, GOOD, GOOD, GOOD, GOOD]) == Verdict([0], certain=True, repeated=False)
    assert judge(three, [GOOD, BAD, GOOD, WORSE, GOOD]) == Verdict([1], certain=True, repeated=True)
    assert judge(three, [GOOD, BAD, GOOD, BAD, GOOD]) == Verdict([1], certain=True, repeated=True)
    assert judge(two, [BAD, GOOD, WORSE, GOOD]) == Verdict([0], certain=True, repeated=True)
    assert judge(two, [GOOD, BAD, GOOD, GOOD]) == Verdict([1], certain=True, repeated=False)
    # Of two ranks that both stay with what they say, either may be wrong.
    assert judge(two, [BAD, GOOD, BAD, GOOD]) == Verdict([0, 1], certain=False, repeated=False)
    assert judge(one, [BAD, GOOD, WORSE]) == Verdict([0], certain=True, repeated=True)
    assert judge(one, [BAD, GOOD, GOOD]) == Verdict([0], certain=True, repeated=False)
