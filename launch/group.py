"""The run's process group. A run of one process has one too."""

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

from launch.context import Launch
from launch.device import BACKENDS, device_of, is_gpu, module_of
from launch.exchange import connects_gpus
from launch.rendezvous import attempt_store
from launch.watchdog import Watchdog

BACKSTOP_SECONDS = 60
"""The group's collectives time out this much later than the watchdog, because the watchdog can name the rank that is stuck."""


@contextmanager
def process_group(
    process: Launch, *, timeout_seconds: float, position: Callable[[], str] | None = None, run: str = ""
) -> Iterator[torch.device]:
    """Join the run's process group and yield this rank's device.

    NCCL connects GPUs; gloo connects CPUs and ranks that share a GPU, which NCCL refuses. `position`, if given, returns
    what this rank is doing; if that does not change for `timeout_seconds`, the watchdog ends the run. `run` names the run, so that no rank
    joins another one. After an exception no further collective is called, because the other ranks may never reach it.
    """
    device = device_of(process.local_rank)
    timeout = timedelta(seconds=timeout_seconds + BACKSTOP_SECONDS)
    if is_gpu(device):
        module_of(device).set_device(device)
    store = attempt_store(process, timeout, run)
    dist.init_process_group(
        backend=_backend(process, device, store),
        store=store,
        rank=process.rank,
        world_size=process.world_size,
        timeout=timeout,
    )
    with Watchdog(store, process, position, timeout_seconds) if position else nullcontext():
        yield device
        # DDP's reducer must be freed, and every rank must be here, before the group's worker threads end.
        gc.collect()
        barrier(device)
    dist.destroy_process_group()


def barrier(device: torch.device) -> None:
    """Wait for all ranks. NCCL has to be told which GPU is this rank's; gloo refuses to be told."""
    dist.barrier(device_ids=[device.index] if connects_gpus(device) else None)


def explain_lost_connection(error: RuntimeError) -> str | None:
    """A message if a collective failed because another rank has gone; otherwise None."""
    text = " ".join(str(error).split())
    if re.search("EADDRINUSE|[Aa]ddress already in use", text):
        port = os.environ.get("MASTER_PORT", "")
        return f"port {port} is in use by another program; set MASTER_PORT to another one, or start torchrun with --standalone"
    if not isinstance(error, dist.DistError) and not re.search("gloo|[Cc]onnection (closed|reset)|Broken pipe", text):
        return None
    return f"lost the connection to the other ranks: one of them failed (see its message) or was killed ({text[:160]})"


def _backend(process: Launch, device: torch.device, store: Store) -> str:
    """NCCL if every rank has its own GPU. `cuda:0` may be a different card in each process, so the ranks compare the
    cards' UUIDs."""
    name = f"{socket.gethostname()} {os.getpid()}"
    if is_gpu(device):
        name = str(module_of(device).get_device_properties(device).uuid)
    store.set(f"device/{process.rank}", name)
    names = {store.get(f"device/{rank}") for rank in range(process.world_size)}
    one_each = is_gpu(device) and len(names) == process.world_size
    return f"cpu:gloo,{device.type}:{BACKENDS[device.type]}" if one_each else "gloo"
