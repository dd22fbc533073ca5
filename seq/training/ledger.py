"""Where the time went: seconds by cause that add up to the wall time, over all starts of a run."""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


class Ledger:
    """`with ledger("data"): ...` books the time inside; what nobody books is `other`. Blocks do not nest."""

    def __init__(self) -> None:
        self._begin = time.perf_counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._earlier = 0.0

    @contextmanager
    def __call__(self, cause: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[cause] += time.perf_counter() - begin

    def each(self, cause: str, items: Iterable[Item]) -> Iterator[Item]:
        """The items; waiting for each is booked."""
        iterator = iter(items)
        while True:
            with self(cause):
                item = next(iterator, None)
            if item is None:
                return
            yield item

    def spent(self, *causes: str) -> float:
        """Seconds booked so far."""
        return sum(self._seconds[cause] for cause in causes)

    def add_earlier(self, seconds: Mapping[str, float]) -> None:
        """What earlier starts of the run booked."""
        self._earlier += sum(seconds.values())
        for cause, spent in seconds.items():
            self._seconds[cause] += spent

    def summary(self) -> dict[str, float]:
        """Seconds by cause up to now; they add up to the wall time."""
        wall = self._earlier + time.perf_counter() - self._begin
        other = wall - sum(seconds for cause, seconds in self._seconds.items() if cause != "other")
        return {cause: seconds for cause, seconds in self._seconds.items() if cause != "other"} | {"other": other}

    def figures(self) -> dict[str, float | dict[str, float]]:
        """`wall_seconds`, and `ledger`: where they went."""
        seconds = {cause: round(spent, 3) for cause, spent in self.summary().items()}
        return {"wall_seconds": round(sum(seconds.values()), 3), "ledger": seconds}
