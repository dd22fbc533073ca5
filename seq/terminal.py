"""Output for a terminal: progress of long work, and texts of strangers without control characters."""

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.status import Status

Item = TypeVar("Item")

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""All control characters but the tabulator and the line feed: they begin the sequences that move the cursor, rename the window, ...
Also those that change the direction of writing, which can make a line read as another one."""


def printable(text: str, stream: TextIO | None = None) -> str:
    """The text, as it may go to `stream` (by default stdout): for a terminal, without control characters, since it may come from a
    stranger."""
    return CONTROL.sub("\ufffd", text) if (stream or sys.stdout).isatty() else text


def progress_bar(items: Iterable[Item], what: str, total: int | None = None) -> Iterable[Item]:
    """The same items, with a bar while they are taken; none where stderr is a file or a pipe. `total`: how many there are, if they
    have no length."""
    if not sys.stderr.isatty():
        return items
    return track(items, escape(what), total=total, console=Console(stderr=True), transient=True)


@contextmanager
def spinner(what: str) -> Iterator[None]:
    """For work of unknown length."""
    if not sys.stderr.isatty():
        yield
        return
    with Status(escape(what), console=Console(stderr=True)):
        yield
