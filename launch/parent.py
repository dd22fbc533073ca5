"""A worker ends with the torchrun that started it. Nothing here imports torch, so that this holds from a program's first line on."""

import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
"""From Linux's `prctl.h`: the signal that a process gets when its parent dies."""


def end_with_parent() -> None:
    """Get SIGTERM when torchrun dies, even by `kill -9`. A process that still imports, prepares data or waits for others ends at once;
    one that trains saves first (`launch.preemption`). Without this, it would hold the run's lock, its memory and its GPU."""
    if sys.platform != "linux" or "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent or _is_adopted():
        os.kill(os.getpid(), signal.SIGTERM)  # torchrun died before the call


def _is_adopted() -> bool:
    """Whether the parent is the system's first process, which is no torchrun; in a container, it may be one."""
    return os.getppid() == 1 and b"python" not in Path("/proc/1/cmdline").read_bytes()
