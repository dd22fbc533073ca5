"""The watchdog: a thread in every rank that ends a run that makes no progress, and names the rank that is stuck.

A collective waits for the slowest rank, and forever for a dead one. While it waits, no Python code runs: no signal handler
and no exception. So a thread watches. Through the store it tells the other ranks that this process is alive and what it is
doing; a process that is stopped, or whose machine is gone, stops reporting.
"""

import atexit
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Self

from torch.distributed import Store  # type: ignore[attr-defined]

from launch.context import Launch


class Watchdog:
    """`position()` says what the main thread is doing. If it does not change for `limit` seconds, the process ends with exit
    code 1."""

    def __init__(self, store: Store, process: Launch, position: Callable[[], str], limit: float) -> None:
        self._process, self._position = process, position
        self._interval = min(1.0, limit / 20)
        # Finding the silent ranks takes three more intervals; all of it must fit into the limit.
        self._limit = limit - 4 * self._interval
        self._store = store.clone()  # type: ignore[attr-defined]  # the main thread may block in a connection of its own
        self._beats, self._closed = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        # The others must know whom to name, even if this process is stopped in its first second.
        self._tell(self._position())
        self._thread.start()
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        """After an error it keeps watching, because the process may hang while it exits. It must end before the
        interpreter: a thread that returns from the store into an interpreter that is shutting down aborts the process."""
        if error is None:
            self._close()
        else:
            atexit.register(self._close)

    def _close(self) -> None:
        self._closed.set()
        self._thread.join(timeout=10)  # it may be waiting for a store that has just gone

    def _watch(self) -> None:
        last, since = self._position(), time.monotonic()
        while not self._closed.wait(self._interval):
            here = self._position()
            if here != last:
                last, since = here, time.monotonic()
            try:
                self._tell(here)
                if time.monotonic() - since > self._limit:
                    self._give_up()
            except RuntimeError:  # the store is gone with torchrun, or with rank 0's machine
                if time.monotonic() - since > self._limit:
                    _exit(
                        f"rank {self._process.rank}: no progress for {self._limit:.0f} s ({here}), and no way to ask why"
                    )

    def _tell(self, here: str) -> None:
        self._beats += 1
        about = {"position": here, "host": socket.gethostname(), "pid": os.getpid(), "beats": self._beats}
        self._store.set(f"alive/{self._process.rank}", json.dumps(about))

    def _give_up(self) -> None:
        """The first rank to come here reports for all. The others wait, because torchrun ends all ranks with the first."""
        if self._store.add("hang", 1) > 1:
            time.sleep(4 * self._interval)
            _exit("")
        before = self._ask_all()
        time.sleep(3 * self._interval)
        now = self._ask_all()
        silent = [rank for rank, about in now.items() if rank != self._process.rank and about == before[rank]]
        for rank in silent:
            # Without this, torchrun would ask it to stop and wait 30 s for a process that cannot answer.
            if now[rank].get("host") == socket.gethostname():
                os.kill(now[rank]["pid"], signal.SIGKILL)
        _exit(describe_hang(now, silent, self._limit))

    def _ask_all(self) -> dict[int, dict[str, Any]]:
        ranks = range(self._process.world_size)
        keys = {rank: f"alive/{rank}" for rank in ranks}
        return {
            rank: json.loads(self._store.get(key)) if self._store.check([key]) else {} for rank, key in keys.items()
        }


def describe_hang(ranks: dict[int, dict[str, Any]], silent: list[int], seconds: float) -> str:
    """One line that names the stuck rank and its place; then a line with the place of each rank."""
    places = {rank: about.get("position", "not started") for rank, about in ranks.items()}
    usual = max(places.values(), key=list(places.values()).count)
    apart = [rank for rank in ranks if places[rank] != usual]
    stuck = silent or apart or list(ranks)
    why = "does not answer (stopped, or its machine is gone)" if silent else "is stuck"
    where = next((places[rank] for rank in ranks if rank not in stuck), places[stuck[0]])
    named = ", ".join(f"rank {rank} (pid {ranks[rank].get('pid')} on {ranks[rank].get('host')})" for rank in stuck)
    table = "".join(f"\n  rank {rank}: {place}" for rank, place in places.items())
    return (
        f"error: no progress for {seconds:.0f} s (run.timeout_seconds): {named} {why}; the others wait at "
        f"{where}. Started again, the run goes on from its newest checkpoint{table}"
    )


def _exit(message: str) -> None:
    """Called from a thread while the main thread is stuck; only `os._exit` is sure to end the process."""
    if message:
        print(message, file=sys.stderr, flush=True)
    os._exit(1)
