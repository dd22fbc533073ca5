"""Devices. A GPU runs asynchronously to the host, so copies must not wait for it, and its time is measured with its own clock."""

import time
from collections import deque
from typing import Any

import torch
from torch import Tensor

BACKENDS = {"cuda": "nccl", "xpu": "xccl"}
"""The supported kinds of GPUs and their backends. All of them compute in fp64, which sums need; Apple's (`mps`) do not."""


def gpu_kind() -> str | None:
    """The kind of GPU that this machine has; None: it has none."""
    return next((kind for kind in BACKENDS if torch.get_device_module(kind).is_available()), None)


def gpu_count() -> int:
    kind = gpu_kind()
    return 0 if kind is None else int(torch.get_device_module(kind).device_count())


def device_of(local_rank: int = 0) -> torch.device:
    """The GPU of a local rank, or the CPU; several ranks share a GPU where there are more ranks than GPUs."""
    kind = gpu_kind()
    return torch.device("cpu") if kind is None else torch.device(kind, local_rank % gpu_count())


def is_gpu(device: torch.device) -> bool:
    return device.type in BACKENDS


def module_of(device: torch.device) -> Any:
    """`torch.cuda`, or the module with the same functions for another kind of GPU."""
    return torch.get_device_module(device)


def device_name(device: torch.device) -> str:
    return str(module_of(device).get_device_name(device)) if is_gpu(device) else "CPU"


def seed_gpu(seed: int) -> None:
    """Seed the generator of this process's GPU, if it has started one."""
    for module in map(torch.get_device_module, BACKENDS):
        if module.is_initialized():
            module.manual_seed(seed)


def new_generator(device: torch.device) -> torch.Generator:
    """Make a generator whose numbers arise on `device`."""
    return torch.Generator(device)


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """A CPU tensor on `device`. The host does not wait: from pinned memory, a copy is queued like any other work. From pageable memory,
    CUDA first finishes all queued work."""
    return values if device.type == "cpu" else values.pin_memory().to(device, non_blocking=True)


class SyncTimer:
    """Seconds between the end of a backward pass and the sums of all gradients, on the clock of the device.

    Call `bucket_ready` whenever a bucket of gradients is complete, and `finish` when all sums are there. On a GPU, both record an event
    among the queued work, and a step's time is known some steps later.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._events: deque[tuple[Any, Any]] = deque()
        self._ready: Any = None
        self._began, self._seconds = 0.0, 0.0

    def bucket_ready(self) -> None:
        self._began = time.perf_counter()
        if is_gpu(self._device):
            self._ready = self._event_now()

    def finish(self) -> None:
        if self._ready is None:
            self._seconds += time.perf_counter() - self._began
        else:
            self._events.append((self._ready, self._event_now()))

    def take(self) -> float:
        """The seconds that have become known since the last call."""
        while self._events and self._events[0][1].query():
            ready, finished = self._events.popleft()
            self._seconds += ready.elapsed_time(finished) / 1000
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    def _event_now(self) -> Any:
        event = module_of(self._device).Event(enable_timing=True)
        event.record()
        return event
