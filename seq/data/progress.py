"""How far the preparation of data has come: bytes, their rate and the time that is left."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

SECONDS = 30
"""Between two lines, where stderr is a file or a pipe."""

_advance: ContextVar[Callable[[int], None] | None] = ContextVar("_advance", default=None)


def advance(size: int) -> None:
    """Say that `size` more bytes have been read in the stage that goes on, if any."""
    if (call := _advance.get()) is not None:
        call(size)


@contextmanager
def uncounted() -> Iterator[None]:
    """What is read meanwhile is read once more, and does not count."""
    token = _advance.set(None)
    try:
        yield
    finally:
        _advance.reset(token)


@contextmanager
def stage(what: str, total: int) -> Iterator[None]:
    """Show the bytes of `total` that have been read: a bar in a terminal, elsewhere a line from time to time."""
    with _bar(what, total) if sys.stderr.isatty() else _lines(what, total) as call:
        token = _advance.set(call)
        try:
            yield
        finally:
            _advance.reset(token)


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn(what), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total or None)
        yield lambda size: progress.advance(task, size)


@contextmanager
def _lines(what: str, total: int) -> Iterator[Callable[[int], None]]:
    begin, done, last = time.monotonic(), 0, time.monotonic()

    def call(size: int) -> None:
        nonlocal done, last
        done += size
        if (now := time.monotonic()) - last >= SECONDS:
            last, rate = now, done / (now - begin)
            left = f", about {max(0, total - done) / rate:,.0f} s left" if total and rate else ""
            print(
                f"{what}: {decimal(done)}{f' of {decimal(total)}' if total else ''}, {decimal(int(rate))}/s{left}",
                file=sys.stderr,
                flush=True,
            )

    yield call
