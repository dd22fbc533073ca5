"""The processes of one attempt find each other, also after restarts."""

import threading
from datetime import timedelta

import pytest
import torch.distributed as dist
from torch.distributed import HashStore  # type: ignore[attr-defined]

from launch import rendezvous
from launch.context import Launch, LaunchError
from launch.rendezvous import attempt_store, first_host


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


def test_a_rank_of_another_run_is_refused(store: HashStore) -> None:
    store.set("run", "runs/names")
    with pytest.raises(
        LaunchError, match="belongs to another run, 'runs/names', and not to 'runs/speeches'; set MASTER_PORT"
    ):
        attempt_store(_launch(1, 2), timedelta(seconds=20), "runs/speeches")


def test_ranks_that_never_come_are_named(store: HashStore) -> None:
    with pytest.raises(dist.DistNetworkError, match=r"ranks \[1, 2\] did not start within 0 s"):
        attempt_store(_launch(0, 3), timedelta(seconds=0.1))


@pytest.mark.parametrize(
    ("nodelist", "host"),
    [
        ("gpu[07-09,12],login1", "gpu07"),
        ("a1", "a1"),
        ("a1,b2", "a1"),
        ("n[3]-ib,n4", "n3-ib"),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
def test_first_host(nodelist: str, host: str) -> None:
    assert first_host(nodelist) == host
