"""The run's process group: joined by every process, a single one included, and left without leaving anyone behind."""

import gc
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import Store  # type: ignore[attr-defined]

from launch.context import Launch, device_of
from launch.rendezvous import attempt_store
from launch.watchdog import Watchdog

BACKSTOP_SECONDS = 60
"""The collectives' own timeout is that much longer than the watchdog's, which can say who is stuck."""


@contextmanager
def process_group(
    launch: Launch, *, timeout_seconds: float, position: Callable[[], str] | None = None
) -> Iterator[torch.device]:
    """Join the run's process group and yield this rank's device.

    NCCL joins GPUs, gloo joins CPUs (and ranks that share a GPU, which NCCL refuses). `position`, if given, says what
    this rank is at; if it says the same for `timeout_seconds`, the watchdog ends the run. On an exception the group is left
    without a further collective: the other ranks may never come to it.
    """
    device = device_of(launch)
    timeout = timedelta(seconds=timeout_seconds + BACKSTOP_SECONDS)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    store = attempt_store(launch, timeout)
    dist.init_process_group(
        backend=_backend(launch, device, store),
        store=store,
        rank=launch.rank,
        world_size=launch.world_size,
        timeout=timeout,
    )
    with Watchdog(store, launch, position, timeout_seconds) if position else nullcontext():
        yield device
        # DDP's reducer must be gone and every rank must be here before the group's worker threads end.
        gc.collect()
        dist.barrier()
    dist.destroy_process_group()


def explain_lost_connection(error: RuntimeError) -> str | None:
    """In words, if a collective failed because another rank has gone; otherwise None."""
    text = " ".join(str(error).split())
    if not isinstance(error, dist.DistError) and not re.search("gloo|[Cc]onnection (closed|reset)|Broken pipe", text):
        return None
    return f"lost the other ranks; one that failed has said why, or was killed ({text[:160]})"


def _backend(launch: Launch, device: torch.device, store: Store) -> str:
    """NCCL where each rank has a GPU of its own. What a process calls `cuda:0` may be any card of the machine, so the
    ranks compare the cards' own names."""
    name = f"{socket.gethostname()} {os.getpid()}"
    if device.type == "cuda":
        name = str(torch.cuda.get_device_properties(device).uuid)
    store.set(f"device/{launch.rank}", name)
    names = {store.get(f"device/{rank}") for rank in range(launch.world_size)}
    one_each = device.type == "cuda" and len(names) == launch.world_size
    return "cpu:gloo,cuda:nccl" if one_each else "gloo"
