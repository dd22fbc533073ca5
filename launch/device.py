"""Devices. A GPU computes later than the host asks, so copies must not wait for it, and its time is measured on its own clock."""

import time
from collections import deque

import torch
from torch import Tensor


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """A CPU tensor on `device`. The host does not wait: from pinned memory, a copy is queued like any other work. From ordinary
    memory, CUDA first finishes all that was asked for."""
    return values if device.type == "cpu" else values.pin_memory().to(device, non_blocking=True)


class SyncTimer:
    """Seconds between the end of a backward pass and the sums of all gradients, on the clock of the device.

    Call `bucket_ready` whenever a bucket of gradients is complete, and `finish` when all sums are there. On a GPU both put
    an event between the work that was asked for, and a step's time is known some steps later.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._events: deque[tuple[torch.cuda.Event, torch.cuda.Event]] = deque()
        self._ready: torch.cuda.Event | None = None
        self._began, self._seconds = 0.0, 0.0

    def bucket_ready(self) -> None:
        self._began = time.perf_counter()
        if self._on_gpu:
            self._ready = _event_now()

    def finish(self) -> None:
        if self._ready is None:
            self._seconds += time.perf_counter() - self._began
        else:
            self._events.append((self._ready, _event_now()))

    def take(self) -> float:
        """The seconds that have become known since the last call."""
        while self._events and self._events[0][1].query():  # type: ignore[no-untyped-call]
            ready, finished = self._events.popleft()
            self._seconds += ready.elapsed_time(finished) / 1000
        seconds, self._seconds = self._seconds, 0.0
        return seconds


def _event_now() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record()
    return event
