"""The messages of the watchdog, and its end."""

import json
import os

import pytest
from torch.distributed import HashStore  # type: ignore[attr-defined]

from launch.context import Launch
from launch.watchdog import Watchdog, describe_hang
from tests.helpers import run


def _about(position: str, rank: int) -> dict[str, object]:
    return {"position": position, "host": "node7", "pid": 100 + rank, "beats": 3}


def test_the_stuck_rank_is_named() -> None:
    ranks = {rank: _about("step 8, compute", rank) for rank in range(4)}
    ranks[2] = _about("step 7, compute", 2)
    message = describe_hang(ranks, [2], 60)
    assert "rank 2 (pid 102 on node7) does not answer" in message
    assert "the others wait at step 8, compute" in message
    ranks[2] = _about("step 8, data", 2)
    message = describe_hang(ranks, [], 60)
    assert "rank 2 (pid 102 on node7) is stuck; the others wait at step 8, compute" in message
    assert message.endswith("rank 2: step 8, data\n  rank 3: step 8, compute")
    assert "rank 1 (pid None on None) does not answer" in describe_hang({0: _about("step 1, data", 0), 1: {}}, [1], 60)


def test_a_rank_can_be_named_from_its_first_moment() -> None:
    """It may be stopped before its thread has come to anything."""
    store, process = HashStore(), Launch(launcher="torchrun", rank=3, local_rank=0, world_size=4)
    with Watchdog(store, process, lambda: "step 0, startup", 1000):
        assert json.loads(store.get("alive/3"))["pid"] == os.getpid()


@pytest.mark.slow
def test_an_error_ends_the_process_in_order_while_the_watchdog_is_in_the_store() -> None:
    """Not by SIGABRT, as a thread does that comes back into an interpreter that is being taken down."""
    done = run("python", "-m", "tests.faults", "error_in_group", "")
    assert done.returncode == 1, done.stderr
    assert "ValueError: planted" in done.stderr
    assert "terminate called" not in done.stderr
