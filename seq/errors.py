"""The errors that end a program in one line instead of a traceback, and the warnings that end nothing."""

import sys
from contextlib import suppress


class UserError(Exception):
    """The config, the data or the command line is at fault. Programs print the message alone and exit with code 2.

    The message says what is wrong, where (file, key, row), and what to do.
    """


class RunError(Exception):
    """The run cannot go on, and neither config nor data are known to be the reason. Exit code 1; what is on disk is
    whole, and the run goes on from there when it is started again. Only the rank that raises it prints the message."""


def warn(message: str) -> None:
    """One line on stderr. A log file on a full disk shall not end the run that has just survived it."""
    with suppress(OSError):
        print(f"warning: {message}", file=sys.stderr, flush=True)
