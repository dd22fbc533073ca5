"""Errors that end a program with one line instead of a traceback; and warnings."""

import sys
from contextlib import suppress

from seq.terminal import printable


class UserError(Exception):
    """Invalid config, data or command line. Programs print only the message and exit with code 2.

    The message says what is wrong, where (file, key, row), and what to do.
    """


class RunError(Exception):
    """The run cannot continue, for a reason other than config or data. Exit code 1. The files on disk are complete, and the
    run continues from them when it is started again. Only the rank that raises the error prints the message."""

    code = 1


class CorruptionError(RunError):
    """A device computed wrongly. Exit code 3."""

    code = 3


def warn(message: str) -> None:
    """Print one line on stderr. A full disk must not end the run here."""
    with suppress(OSError):
        print(printable(f"warning: {message}", sys.stderr), file=sys.stderr, flush=True)
