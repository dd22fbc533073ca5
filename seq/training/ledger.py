"""Where the time went: seconds by cause that add up to the wall time, over all starts of a run."""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import psutil

Item = TypeVar("Item")


class Ledger:
    """`with ledger("data"): ...` books the time inside; what nobody books is `other`. Blocks do not nest.

    Causes of a run: `startup`, `data` (waiting for it), `compute`, `sync` (waiting for other ranks' gradients),
    `evaluation`, `sampling`, `checkpoint`, `lost` (work that a kill threw away), `other` (logging, mostly).
    """

    def __init__(self) -> None:
        # From the start of the process: importing torch takes seconds.
        self._begin = time.perf_counter() - (time.time() - psutil.Process().create_time())
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._earlier = 0.0
        self._cause, self.step = "startup", 0

    @contextmanager
    def __call__(self, cause: str) -> Iterator[None]:
        begin, self._cause = time.perf_counter(), cause
        try:
            yield
        finally:
            self._seconds[cause] += time.perf_counter() - begin

    def each(self, cause: str, items: Iterable[Item]) -> Iterator[Item]:
        """The items; waiting for each is booked, and `step` counts them."""
        iterator = iter(items)
        while True:
            with self(cause):
                item = next(iterator, None)
            if item is None:
                return
            self.step += 1
            yield item

    def position(self) -> str:
        """What the process is at, for the watchdog."""
        return f"step {self.step}, {self._cause}"

    def started(self) -> None:
        """The time up to now that nobody booked was spent on starting."""
        self._seconds["startup"] += self.wall() - sum(self._seconds.values())

    def rebook(self, source: str, target: str, seconds: float) -> None:
        """Part of what was booked on `source` belongs to `target`."""
        self._seconds[source] -= seconds
        self._seconds[target] += seconds

    def spent(self, *causes: str) -> float:
        """Seconds booked so far."""
        return sum(self._seconds[cause] for cause in causes)

    def add_earlier(self, seconds: Mapping[str, float], wall: float) -> None:
        """What earlier starts of the run booked up to the checkpoint, and how long they lived in all: the difference
        is lost."""
        lost = max(0.0, wall - sum(seconds.values()))
        for cause, spent in (*seconds.items(), ("lost", lost)):
            self._seconds[cause] += spent
            self._earlier += spent

    def wall(self) -> float:
        """Seconds that the run's processes have lived so far, over all starts."""
        return self._earlier + time.perf_counter() - self._begin

    def summary(self) -> dict[str, float]:
        """Seconds by cause up to now; they add up to the wall time."""
        booked = {cause: seconds for cause, seconds in self._seconds.items() if cause != "other"}
        return booked | {"other": self.wall() - sum(booked.values())}

    def figures(self) -> dict[str, Any]:
        """`wall_seconds`; `ledger`: where they went; `goodput`: the share of it that was computing."""
        seconds = {cause: round(spent, 3) for cause, spent in self.summary().items()}
        wall = round(sum(seconds.values()), 3)
        return {"wall_seconds": wall, "ledger": seconds, "goodput": round(seconds.get("compute", 0.0) / wall, 4)}
