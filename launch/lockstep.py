"""The lockstep reduction: the gradients of V shards are added in one fixed binary tree at every number of ranks.

Floating-point addition is not associative, so an ordinary all-reduce gives different bits at different world sizes. Here
the tree over the shards 0 to V - 1 is part of the run:

    ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))        V = 8

Rank r of W owns the contiguous shards [r V/W, (r + 1) V/W), which form a subtree. A rank adds its own subtree as its
shards come (a binary counter: at most log2(V/W) + 1 gradients exist at once). The upper levels are added across ranks in
a DDP communication hook: an all-to-all gives each rank all ranks' values of its part of the bucket; the rank adds them in
tree order; an all-gather collects the parts. This moves as many bytes as a ring, and overlaps with the backward pass like
DDP's own reduction. Every element is added in the same tree, so buckets and their padding do not matter.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import GradBucket, ProcessGroup  # type: ignore[attr-defined]
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

Exchange = Callable[[Tensor, ProcessGroup], Tensor]
"""(W * n,) values -> this rank's part (n,), summed over the ranks in tree order."""


def tree_sum(parts: Sequence[Tensor]) -> Tensor:
    """Add neighbours in place, level by level, into `parts[0]`; their number is a power of two."""
    level = list(parts)
    while len(level) > 1:
        level = [left.add_(right) for left, right in zip(level[::2], level[1::2], strict=True)]
    return level[0]


def ordered_all_reduce(buffer: Tensor, group: ProcessGroup, exchange: Exchange) -> Tensor:
    """In-place sum of the flat `buffer` over the ranks, in tree order; the same bits on every rank."""
    missing = -len(buffer) % dist.get_world_size(group)
    padded = nn.functional.pad(buffer, (0, missing)) if missing else buffer
    dist.all_gather_single(padded, exchange(padded, group), group=group)
    return buffer.copy_(padded[: len(buffer)]) if missing else buffer


def exchange_all_to_all(values: Tensor, group: ProcessGroup) -> Tensor:
    received = torch.empty_like(values)
    dist.all_to_all_single(received, values, group=group)
    return tree_sum(received.chunk(dist.get_world_size(group)))


def exchange_by_halving(values: Tensor, group: ProcessGroup) -> Tensor:
    """The same tree with send and receive only, for backends without all-to-all. In round k, ranks that differ in bit k
    swap the halves that the other will own, and add them."""
    rank, world_size = dist.get_rank(group), dist.get_world_size(group)
    parts, distance = values.view(world_size, -1), 1
    while distance < world_size:
        bit, peer = (rank // distance) & 1, rank ^ distance
        keep, give = parts[bit::2].clone(), parts[1 - bit :: 2].contiguous()
        received = torch.empty_like(keep)
        swaps = [
            dist.P2POp(dist.isend, give, group=group, group_peer=peer),
            dist.P2POp(dist.irecv, received, group=group, group_peer=peer),
        ]
        for work in dist.batch_isend_irecv(swaps):
            work.wait()
        # a + b = b + a to the last bit, so the order of the two ranks does not matter.
        parts, distance = keep.add_(received), distance * 2
    return parts[0]


class OrderedReduction:
    """Adds the gradients of one step's local shards. Call `push` after each shard but the last; the last shard's backward
    pass runs under DDP with this reduction as its communication hook; then call `finish`. Every `grad` is then the sum
    over all V shards, with the same bits on every rank and at every world size.

    The sum is not divided: the loss was already divided by the targets of the whole step.
    """

    def __init__(self, model: DistributedDataParallel, *, exchange: Exchange | None = None) -> None:
        # Parameters only: a reference to `model` would be a cycle through its hook and outlive the group.
        self._parameters: list[Tensor] = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._stack: list[tuple[int, dict[Tensor, Tensor]]] = []
        self.waited = 0.0
        # A separate group, so that no other collective comes between those of two buckets.
        self._group: ProcessGroup | None = dist.new_group()
        device = self._parameters[0].device
        self._exchange = exchange or _choose_exchange(self._group, device)
        self._stream = _side_stream(self._group, device)
        self._alone = dist.get_world_size() == 1
        # One thread: gloo's collectives block, and every rank must call them in the order of the buckets.
        self._thread = ThreadPoolExecutor(1) if device.type == "cpu" else None
        model.register_comm_hook(self, OrderedReduction._hook)

    def push(self) -> None:
        """Take the gradients out of the parameters and add them to the local tree."""
        level, gradients = 0, {parameter: _take(parameter) for parameter in self._parameters}
        while self._stack and self._stack[-1][0] == level:
            _, left = self._stack.pop()
            torch._foreach_add_(list(left.values()), list(gradients.values()))
            level, gradients = level + 1, left
        self._stack.append((level, gradients))

    def finish(self) -> None:
        """The step's gradients are complete: drop the partial sums. The backward pass ended with the last bucket; the time
        since then was spent waiting for the sums."""
        self.waited = time.perf_counter() - self._last_bucket
        self._stack.clear()

    def close(self) -> None:
        """Call this before the process group ends."""
        if self._thread is not None:
            self._thread.shutdown()
        self._group = None

    def _hook(self, bucket: GradBucket) -> Future[Tensor]:
        """The bucket holds only the last shard's gradients. Complete the rank's subtree, then add across ranks."""
        self._last_bucket = time.perf_counter()
        for _, partial in reversed(self._stack):
            lefts = [partial[parameter] for parameter in bucket.parameters()]
            torch._foreach_add_(bucket.gradients(), lefts)
        buffer = bucket.buffer()
        if self._alone:
            done: Future[Tensor] = Future(devices=[buffer.device] if buffer.is_cuda else None)
            done.set_result(buffer)
            return done
        if self._thread is not None:
            future: Future[Tensor] = Future()
            self._thread.submit(self._reduce_in_thread, buffer, future)
            return future
        if self._stream is not None:
            return self._reduce_on_stream(buffer, self._stream)
        return self._reduce_through_host(buffer)

    def _reduce_in_thread(self, buffer: Tensor, future: Future[Tensor]) -> None:
        try:
            future.set_result(self._all_reduce(buffer))
        except BaseException as error:
            future.set_exception(error)  # type: ignore[arg-type]  # its annotation is wrong

    def _reduce_on_stream(self, buffer: Tensor, stream: torch.cuda.Stream) -> Future[Tensor]:
        """NCCL: the collectives run on a side stream while the backward pass continues."""
        future: Future[Tensor] = Future(devices=[buffer.device])
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            future.set_result(self._all_reduce(buffer))
        return future

    def _reduce_through_host(self, buffer: Tensor) -> Future[Tensor]:
        """gloo with a GPU that several ranks share: `cpu` and `copy_` wait for the device."""
        future: Future[Tensor] = Future(devices=[buffer.device])
        future.set_result(buffer.copy_(self._all_reduce(buffer.cpu())))
        return future

    def _all_reduce(self, buffer: Tensor) -> Tensor:
        assert self._group is not None
        return ordered_all_reduce(buffer, self._group, self._exchange)


def _take(parameter: Tensor) -> Tensor:
    gradient = parameter.grad
    assert gradient is not None, "a parameter without a gradient: DDP would wait for it forever"
    parameter.grad = None
    return gradient


def _side_stream(group: ProcessGroup, device: torch.device) -> torch.cuda.Stream | None:
    nccl = device.type == "cuda" and _backend(group, device) == "nccl"
    return torch.cuda.Stream() if nccl else None  # type: ignore[no-untyped-call]


def _backend(group: ProcessGroup, device: torch.device) -> str:
    """`nccl` or `gloo`: what moves tensors of `device`."""
    return str(group._get_backend(device).name()).lower()


def _choose_exchange(group: ProcessGroup, device: torch.device) -> Exchange:
    """All-to-all if the backend has it. Every rank has the same backend, so all ranks choose the same."""
    shape = dist.get_world_size(group)
    probe = torch.zeros(shape, device=device if _backend(group, device) == "nccl" else "cpu")
    try:
        dist.all_to_all_single(torch.empty_like(probe), probe, group=group)
    except RuntimeError:
        return exchange_by_halving
    return exchange_all_to_all
