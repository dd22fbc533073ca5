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
    """It knows at once; the run itself waits for its own rank."""
    found: dict[str, object] = {}

    def join(rank: int, run: str) -> None:
        try:
            found[f"{run} {rank}"] = attempt_store(_launch(rank, 2), timedelta(seconds=20), run)
        except LaunchError as error:
            found[f"{run} {rank}"] = str(error)

    main, stranger, own = (threading.Thread(target=join, args=about) for about in ((0, "a b"), (1, "c"), (1, "a b")))
    main.start()
    stranger.start()
    stranger.join()
    assert "belongs to another run, 'a b', and not to 'c'; set MASTER_PORT to another port" in str(found["c 1"])
    own.start()
    own.join()
    main.join()
    assert not isinstance(found["a b 0"], str)
    assert not isinstance(found["a b 1"], str)


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
