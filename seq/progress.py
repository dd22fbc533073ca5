"""Progress of long work on a terminal: what is done, and the time that is left. Nothing where stderr is a file or a pipe."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import track
from rich.status import Status

Item = TypeVar("Item")


def tracked(items: Iterable[Item], what: str, total: int | None = None) -> Iterable[Item]:
    """The same items, with a bar while they are taken. `total`: how many there are, if they have no length."""
    if not sys.stderr.isatty():
        return items
    return track(items, what, total=total, console=Console(stderr=True), transient=True)


@contextmanager
def busy(what: str) -> Iterator[None]:
    """For work of unknown length."""
    if not sys.stderr.isatty():
        yield
        return
    with Status(what, console=Console(stderr=True)):
        yield
