"""How ranks exchange tensors: through shared memory on the CPUs of one host, otherwise through the process group.

On the same host, a message of 400 kB takes 0.05 ms through shared memory and 0.4 ms through gloo, whose threads also take
time from the ranks. A shard of short rows takes 2.5 ms to compute, so this matters.
"""

import contextlib
import mmap
import os
import platform
import secrets
import time
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup

from launch.device import BACKENDS, is_gpu
from launch.torch_compat import all_gather_tensor

CAPACITY, TOTAL = 4 << 20, 64 << 20
"""Most bytes of a slot, and of all slots of an exchange. A larger message is sent in parts."""
LINE = 64
"""Bytes between two counters, so that they do not share a cache line of the processor."""
SPINS = 2000
"""Number of times that a rank polls the counters before it pauses between polls; about a millisecond."""


class Exchange(Protocol):
    sent_bytes: int
    """Bytes that this rank has handed over so far."""

    def gather(self, own: Tensor) -> Tensor:
        """`own` (n, ...) of every rank, all of one shape -> (W, n, ...). Do not change the result, and use it before the next
        call: it may be the memory that all ranks share."""

    def scatter(self, own: Tensor) -> Tensor:
        """`own` (P, W * n) of every rank -> (W, P, n): rank r gets the slice [r n, (r + 1) n) of each rank. Use it as in `gather`."""

    def close(self) -> None:
        """Call this before the process group ends."""


def open_exchange(device: torch.device) -> Exchange:
    """Every rank calls this, and all get the same kind. Nothing but the watchdog ends the wait for a rank that is alive."""
    group = new_group()
    host = HostExchange.open(group) if device.type == "cpu" else None
    return host or GroupExchange(group, device)


class GroupExchange:
    """Through the process group: NCCL between GPUs, gloo between hosts."""

    def __init__(self, group: ProcessGroup, device: torch.device) -> None:
        self._group: ProcessGroup | None = group
        self.sent_bytes = 0
        # gloo moves only CPU tensors: ranks that share a GPU go through the host, and wait for the device.
        self._device = torch.device("cpu") if backend_of(group, device) == "gloo" else device

    def gather(self, own: Tensor) -> Tensor:
        sent = own.to(self._device).contiguous()
        self.sent_bytes += sent.nbytes
        received = sent.new_empty(dist.get_world_size(self._group), *sent.shape)
        all_gather_tensor(received.flatten(0, 1), sent, self._group)
        return received.to(own.device)

    def scatter(self, own: Tensor) -> Tensor:
        world_size = dist.get_world_size(self._group)
        sent = own.to(self._device).view(len(own), world_size, -1).transpose(0, 1).contiguous()
        self.sent_bytes += sent.nbytes
        received = torch.empty_like(sent)
        dist.all_to_all_single(received, sent, group=self._group)
        return received.to(own.device)

    def close(self) -> None:
        self._group = None


class HostExchange:
    """Through memory that all ranks map. Each rank has a counter of its messages, and two slots that they fill in turn. A rank
    that sees the counters of all others at its own number may read their slots. It may then fill its other slot again: the
    others have read it, since they have gone on to this message.

    On processors other than x86, stores may become visible in another order; there, `open` returns None.
    """

    def __init__(self, memory: mmap.mmap, rank: int, world_size: int) -> None:
        self._rank, self._messages, self._pids, self.sent_bytes = rank, 0, list[int](), 0
        words = np.frombuffer(memory, np.int64, _head(world_size) // 8).reshape(-1, LINE // 8)[:, 0]
        self._counters, self._processes = words[1 : world_size + 1], words[world_size + 1 :]
        slots = torch.frombuffer(memory, dtype=torch.uint8, offset=_head(world_size))
        self._slots = slots.view(2, world_size, -1)
        self._capacity = self._slots.shape[2]
        self._processes[rank] = os.getpid()

    @classmethod
    def open(cls, group: ProcessGroup, capacity: int = CAPACITY) -> "HostExchange | None":
        """None, on every rank, unless the ranks are on one host and can share memory. `capacity`: bytes of a slot, a multiple
        of LINE; fewer where there are many ranks."""
        rank, world_size, token = dist.get_rank(group), dist.get_world_size(group), secrets.token_bytes(8)
        size = _head(world_size) + 2 * world_size * min(capacity, TOTAL // (2 * world_size) // LINE * LINE)
        file = _create(size, token) if rank == 0 and world_size > 1 else None
        offered: list[Any] = ["" if file is None else f"/proc/{os.getpid()}/fd/{file}", token]
        dist.broadcast_object_list(offered, group=group, group_src=0)
        memory = _map(*offered, size=size)
        opened = None if memory is None else cls(memory, rank, world_size)
        # The first agreement says that every rank has written its process id; the second, that every rank can see all others.
        agreed = _all_agree(opened is not None, group)
        if agreed and opened is not None:
            opened._pids = opened._processes.tolist()
            agreed = all(map(_is_alive, opened._pids))
        agreed = _all_agree(agreed, group)
        if file is not None:
            os.close(file)  # the memory lives as long as it is mapped
        return opened if agreed else None

    def gather(self, own: Tensor) -> Tensor:
        sent = own.contiguous().view(-1).view(torch.uint8)
        if len(sent) <= self._capacity:
            whole = self._gather(sent)
        else:
            parts = sent.split(self._capacity)  # type: ignore[no-untyped-call]
            whole = torch.cat([self._gather(part).clone() for part in parts], dim=1)
        return whole.view(own.dtype).view(len(self._pids), *own.shape)

    def scatter(self, own: Tensor) -> Tensor:
        size = own.shape[1] // len(self._pids)
        return self.gather(own)[:, :, self._rank * size : (self._rank + 1) * size]

    def _gather(self, sent: Tensor) -> Tensor:
        slots = self._slots[self._messages % 2, :, : len(sent)]
        slots[self._rank] = sent
        self.sent_bytes += len(sent)
        self._messages += 1
        self._counters[self._rank] = self._messages
        spins = 0
        while (self._counters < self._messages).any():
            spins += 1
            if spins > SPINS:  # another rank is busy for longer, with samples or a checkpoint
                time.sleep(0.0002)
                if spins % 100 == 0:
                    self._check_ranks()
            elif spins > 20:
                os.sched_yield()  # there may be more ranks than cores
        return slots

    def _check_ranks(self) -> None:
        for rank, pid in enumerate(self._pids):
            if self._counters[rank] < self._messages and not _is_alive(pid):
                raise dist.DistNetworkError(f"rank {rank} has gone")

    def close(self) -> None:
        """The memory is freed when no process maps it any more."""


def _head(world_size: int) -> int:
    """Bytes of the token, the counters and the process ids."""
    return LINE * (1 + 2 * world_size)


def _create(size: int, token: bytes) -> int | None:
    """A file in memory, without a name, that begins with `token`. None if there is no room, or on another processor."""
    if platform.machine() not in ("x86_64", "AMD64") or not hasattr(os, "memfd_create"):
        return None
    file = os.memfd_create("lockstep")
    try:
        os.posix_fallocate(file, 0, size)
        os.pwrite(file, token, 0)
    except OSError:
        os.close(file)
        return None
    return file


def _map(path: str, token: bytes, *, size: int) -> mmap.mmap | None:
    """The memory of rank 0, or None if `path` is not that: on another host it may be a file of any process. Nothing is
    written before the token has been compared."""
    with contextlib.suppress(OSError, ValueError), open(path, "r+b") as file:
        if os.pread(file.fileno(), len(token), 0) == token:
            return mmap.mmap(file.fileno(), size)
    return None


def _all_agree(value: bool, group: ProcessGroup) -> bool:
    flag = torch.tensor([int(value)])
    dist.all_reduce(flag, op=dist.ReduceOp.MIN, group=group)
    return bool(flag.item())


def _is_alive(pid: int) -> bool:
    """False for a process that has ended, or that another container hides."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2][:1] not in (b"Z", b"X")
    except OSError:
        return False


def new_group(backend: str | None = None) -> ProcessGroup:
    """A group of all ranks for one purpose, with the run's timeout; torch's default for a new group is half an hour."""
    timeout = world()._get_backend(torch.device("cpu")).options._timeout
    group = dist.new_group(backend=backend, timeout=timeout)
    assert isinstance(group, ProcessGroup)
    return group


def world() -> ProcessGroup:
    group = dist.group.WORLD
    assert group is not None
    return group


def connects_gpus(device: torch.device) -> bool:
    """Whether the run's group moves tensors of this GPU itself, as NCCL does; gloo copies them to the host."""
    return is_gpu(device) and backend_of(world(), device) == BACKENDS[device.type]


def backend_of(group: ProcessGroup, device: torch.device) -> str:
    """`nccl` or `gloo`: what moves tensors of `device`."""
    return str(group._get_backend(device).name()).lower()
