"""Rendezvous after restarts, agreement on signals, and the words of the watchdog."""

import os
import signal
import threading
from datetime import timedelta
from pathlib import Path

import pytest
import torch.distributed as dist
from torch.distributed import HashStore  # type: ignore[attr-defined]

from launch import rendezvous
from launch.context import Launch
from launch.group import explain_lost_connection
from launch.preemption import Preemption
from launch.rendezvous import attempt_store
from launch.watchdog import describe_hang
from tests.helpers import run, run_ranks


def _launch(rank: int, world_size: int) -> Launch:
    return Launch(launcher="torchrun", rank=rank, local_rank=0, world_size=world_size)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> HashStore:
    """One store for all attempts, as torchrun's agent keeps it."""
    kept = HashStore()
    monkeypatch.setattr(rendezvous, "_launcher_store", lambda *_: kept)
    return kept


def _join(rank: int, world_size: int, found: dict[int, object]) -> None:
    found[rank] = attempt_store(_launch(rank, world_size), timedelta(seconds=20))


def _attempt(world_size: int, late: int | None = None) -> dict[int, object]:
    found: dict[int, object] = {}
    ranks = [rank for rank in range(world_size) if rank != late] + [late] * (late is not None)
    threads = [threading.Thread(target=_join, args=(rank, world_size, found)) for rank in ranks if rank is not None]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize("late", [0, 1, 2, 3])
def test_attempts_do_not_see_each_other(store: HashStore, late: int) -> None:
    """The calls of the dead lie in the store, answered and unanswered; the living find each other all the same."""
    for dead in (1, 2, 3):
        store.set(f"call/{dead}", f"of-the-dead-{dead}")
    for attempt in range(3):
        stores = _attempt(4, late)
        stores[3].set("key", str(attempt))  # type: ignore[attr-defined]
        assert [stores[rank].get("key") for rank in range(4)] == [str(attempt).encode()] * 4  # type: ignore[attr-defined]


def test_ranks_that_never_come_are_named(store: HashStore) -> None:
    with pytest.raises(dist.DistNetworkError, match=r"ranks \[1, 2\] did not start within 0 s"):
        attempt_store(_launch(0, 3), timedelta(seconds=0.1))


def _stop(rank: int) -> None:
    preemption = Preemption()
    answers = []
    for step in range(4):
        if (rank, step) in ((1, 2), (0, 3)):
            os.kill(os.getpid(), signal.SIGUSR1 if rank else signal.SIGINT)
        preemption.ask()
        answers.append(preemption.answer())
    # The largest number wins where there are two: SIGUSR1 is 10, SIGINT 2.
    assert answers == [None, None, "SIGUSR1", "SIGUSR1"]
    preemption.close()
    os.kill(os.getpid(), signal.SIGTERM)  # a late signal does not interrupt what is left to write


@pytest.mark.slow
def test_ranks_agree_on_the_step(tmp_path: Path) -> None:
    run_ranks(_stop, 2, tmp_path)


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


def test_lost_connections_are_told_from_other_errors() -> None:
    closed = RuntimeError("[third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:1")
    assert "lost the other ranks" in (explain_lost_connection(closed) or "")
    assert explain_lost_connection(RuntimeError("size mismatch for output.weight")) is None


ERROR = """
import time
from datetime import timedelta
from torch.distributed import HashStore
from launch.context import describe_launch
from launch.group import process_group

def position():
    store = HashStore()
    for _ in range(2000):
        try:
            store.wait(["never"], timedelta(milliseconds=1))
        except RuntimeError:
            pass
    return ""

with process_group(describe_launch(), timeout_seconds=60, position=position):
    time.sleep(0.2)
    raise ValueError("planted")
"""


def test_an_error_ends_the_process_in_order_while_the_watchdog_is_in_the_store() -> None:
    """Not by SIGABRT, as a thread does that comes back into an interpreter that is being taken down."""
    done = run("python", "-c", ERROR)
    assert done.returncode == 1, done.stderr
    assert "ValueError: planted" in done.stderr
    assert "terminate called" not in done.stderr
