"""Where the time went: seconds by cause, which add up to the wall time over all starts of a run."""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import psutil

Item = TypeVar("Item")
TRAINING = ("data", "compute", "sync")
"""The causes that are training itself."""


class Ledger:
    """`with ledger("data"): ...` counts the time inside for `data`. Time that is not counted is `other`. Blocks do not nest.

    Causes: `startup`, `data` (waiting for batches), `compute`, `sync` (waiting for other ranks' gradients), `evaluation`,
    `sampling`, `checkpoint`, `lost` (work that a kill discarded), `other` (mostly logging).
    """

    def __init__(self) -> None:
        # From the start of the process: importing torch takes seconds.
        self._begin = time.perf_counter() - (time.time() - psutil.Process().create_time())
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._earlier = 0.0
        self._cause, self.step = "startup", 0
        self._last_reading = (0, 0.0)
        self._at_start = (0, 0.0, 0.0)

    @contextmanager
    def __call__(self, cause: str) -> Iterator[None]:
        begin, self._cause = time.perf_counter(), cause
        try:
            yield
        finally:
            self._seconds[cause] += time.perf_counter() - begin

    def each(self, cause: str, items: Iterable[Item]) -> Iterator[Item]:
        """The items. The wait for each is counted for `cause`, and `step` counts the items."""
        iterator = iter(items)
        while True:
            with self(cause):
                item = next(iterator, None)
            if item is None:
                return
            self.step += 1
            yield item

    def position(self) -> str:
        """Describe what the process is doing, for the watchdog."""
        return f"step {self.step}, {self._cause}"

    def started(self, tokens_seen: int) -> None:
        """The time until now that was not counted is `startup`."""
        self._seconds["startup"] += self.wall() - sum(self._seconds.values())
        self._last_reading = (tokens_seen, self.spent(*TRAINING))
        self._at_start = (tokens_seen, self.spent("compute"), self.spent("sync"))

    def since_start(self, tokens_seen: int) -> tuple[int, float, float]:
        """Return the tokens of this start alone, and its seconds of `compute` and `sync`."""
        tokens, compute, sync = self._at_start
        return tokens_seen - tokens, self.spent("compute") - compute, self.spent("sync") - sync

    def tokens_per_second(self, tokens_seen: int) -> float:
        """Tokens per second of training time, since the last call (or since `started`)."""
        tokens, seconds = self._last_reading
        self._last_reading = (tokens_seen, self.spent(*TRAINING))
        return (tokens_seen - tokens) / (self._last_reading[1] - seconds)

    def move(self, source: str, target: str, seconds: float) -> None:
        """Count part of the time of `source` for `target` instead."""
        self._seconds[source] -= seconds
        self._seconds[target] += seconds

    def spent(self, *causes: str) -> float:
        """Seconds counted so far."""
        return sum(self._seconds[cause] for cause in causes)

    def add_earlier(self, seconds: Mapping[str, float], wall: float) -> None:
        """Add earlier starts of the run: their seconds by cause up to the checkpoint, and how long they lasted in all. The
        difference is lost."""
        lost = max(0.0, wall - sum(seconds.values()))
        for cause, spent in (*seconds.items(), ("lost", lost)):
            self._seconds[cause] += spent
            self._earlier += spent

    def wall(self) -> float:
        """Seconds that the run has lasted so far, over all starts."""
        return self._earlier + time.perf_counter() - self._begin

    def summary(self) -> dict[str, float]:
        """Seconds by cause until now; they add up to the wall time."""
        counted = {cause: seconds for cause, seconds in self._seconds.items() if cause != "other"}
        return counted | {"other": self.wall() - sum(counted.values())}

    def figures(self) -> dict[str, Any]:
        """`wall_seconds`; `ledger`: seconds by cause; `goodput`: the share of `compute`."""
        seconds = {cause: round(spent, 3) for cause, spent in self.summary().items()}
        wall = round(sum(seconds.values()), 3)
        return {"wall_seconds": wall, "ledger": seconds, "goodput": round(seconds.get("compute", 0.0) / wall, 4)}
