"""The lockstep reduction: the gradients of V shards are added in one fixed tree at every number of ranks (`launch.tree`).

Floating-point addition is not associative, so an ordinary all-reduce gives different bits at different world sizes. Here each rank adds
its own shards, wherever they form subtrees: within a pass (`launch.passes`), and from pass to pass. A DDP communication hook then adds
the sums of subtrees across ranks (`launch.exchange` moves them). Every rank adds all of a small bucket; of a large one it adds only its
own slice, and all ranks then gather the slices. Every element is added in the same tree, so buckets and slices do not matter.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import GradBucket  # type: ignore[attr-defined]
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from launch.device import SyncTimer, is_gpu, module_of
from launch.exchange import connects_gpus, open_exchange
from launch.tree import Subtree, TreeSum, is_left_neighbour, share, subtree_of, subtrees_of

SMALL_BYTES = 8 << 20
"""If the parts of all ranks are at most this large, every rank adds the whole bucket. This takes one exchange instead of two, since
latency dominates the time of small messages."""

Gradients = dict[Tensor, Tensor]
"""Parameter -> gradient."""


class OrderedReduction:
    """Adds the gradients of one step's local shards. Call `begin` before each pass, and `push` after each but the last; the last
    backward pass runs under DDP with this reduction as its communication hook; then call `finish`. Every `grad` is then the sum
    over all V shards, with the same bits on every rank and at every world size.

    The sum is not divided: the loss was already divided by the targets of the whole step.
    """

    def __init__(self, model: DistributedDataParallel, *, shards: int, small_bytes: int = SMALL_BYTES) -> None:
        # Parameters only: a reference to `model` would be a cycle through its hook and outlive the group.
        self._parameters: list[Tensor] = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._local: TreeSum[Gradients] = TreeSum(_add_gradients)
        self._now, self._keep = Subtree(0, 0), False
        self.kept: Gradients = {}
        """By parameter, the gradients of the pass of one shard that was to be kept. In larger passes, `launch.passes` keeps them."""
        self._error: BaseException | None = None
        device = self._parameters[0].device
        self.timer = SyncTimer(device)
        self._ranks: _RankSum | None = _RankSum(device, small_bytes)
        self.assign(share(dist.get_world_size(), shards))
        self._stream = _side_stream(device)
        # One thread: an exchange blocks, and every rank must do them in the order of the buckets.
        self._thread = ThreadPoolExecutor(1) if device.type == "cpu" else None
        model.register_comm_hook(self, OrderedReduction._hook)

    def assign(self, shards: list[range]) -> None:
        """Which rank computes which shards; what a rank without shards computes is ignored."""
        assert self._ranks is not None
        self._ranks.assign(shards)

    def begin(self, shards: range, *, keep: bool = False) -> None:
        """The next backward pass gives the sum over these shards, a subtree. `keep`: copy it to `kept`."""
        self._now, self._keep = subtree_of(shards), keep

    def push(self) -> None:
        """Take the gradients out of the parameters and add them to the local tree."""
        gradients = {parameter: _take(parameter) for parameter in self._parameters}
        self._keep_copies(gradients)
        self._local.push(self._now, gradients)

    def finish(self) -> None:
        """The step's gradients are complete: drop the partial sums. An error of an exchange is raised here."""
        if self._error is not None:
            raise self._error
        self.timer.finish()
        self._local.parts.clear()

    @property
    def sent_bytes(self) -> int:
        """Bytes that this rank has sent so far."""
        return self._ranks.exchange.sent_bytes if self._ranks else 0

    def close(self) -> None:
        """Call this before the process group ends."""
        if self._thread is not None:
            self._thread.shutdown()
        if self._ranks is not None:
            self._ranks.exchange.close()
        self._ranks = None

    def _hook(self, bucket: GradBucket) -> Future[Tensor]:
        """The bucket holds only the gradients of the last pass. Complete the rank's subtrees, then add across ranks."""
        self.timer.bucket_ready()
        self._keep_copies(dict(zip(bucket.parameters(), bucket.gradients(), strict=True)))
        buffer, parts = bucket.buffer(), list(self._parts_of(bucket))
        if self._stream is not None:
            return self._reduce_on_stream(buffer, parts, self._stream)
        future: Future[Tensor] = Future(devices=[buffer.device] if is_gpu(buffer.device) else None)
        if self._thread is not None and not (bucket.is_last() and bucket.index() == 0):
            self._thread.submit(self._reduce_in_thread, buffer, parts, future)
        else:  # a single bucket: there is nothing to overlap with
            future.set_result(self._reduce(buffer, parts))
        return future

    def _keep_copies(self, gradients: Gradients) -> None:
        if self._keep:
            self.kept |= {parameter: gradient.clone() for parameter, gradient in gradients.items()}

    def _parts_of(self, bucket: GradBucket) -> Iterator[Tensor]:
        """The sums of the rank's subtrees, as flat as the bucket; the last one is the bucket's own buffer."""
        last, rest = self._now, list(self._local.parts)
        while rest and is_left_neighbour(rest[-1][0], last):
            _, left = rest.pop()
            torch._foreach_add_(bucket.gradients(), [left[parameter] for parameter in bucket.parameters()])
            last = Subtree(last.level + 1, last.number // 2)
        for _, partial in rest:
            yield torch.cat([partial[parameter].flatten() for parameter in bucket.parameters()])
        yield bucket.buffer()

    def _reduce_in_thread(self, buffer: Tensor, parts: list[Tensor], future: Future[Tensor]) -> None:
        try:
            future.set_result(self._reduce(buffer, parts))
        except BaseException as error:
            # DDP would treat an error in the future as a tensor, so `finish` raises it. This bucket is not read.
            self._error = error
            future.set_result(buffer)

    def _reduce_on_stream(self, buffer: Tensor, parts: list[Tensor], stream: torch.Stream) -> Future[Tensor]:
        """NCCL: the collectives run on a side stream while the backward pass continues."""
        future: Future[Tensor] = Future(devices=[buffer.device])
        gpu = module_of(buffer.device)
        stream.wait_stream(gpu.current_stream())
        for part in parts:
            # Without this, the backward pass may reuse their memory before the side stream has read them.
            part.record_stream(stream)
        with gpu.stream(stream):
            future.set_result(self._reduce(buffer, parts))
        return future

    def _reduce(self, buffer: Tensor, parts: list[Tensor]) -> Tensor:
        assert self._ranks is not None
        return self._ranks.sum_into(buffer, parts)


class _RankSum:
    """Adds the sums of all ranks' subtrees, in tree order."""

    def __init__(self, device: torch.device, small_bytes: int) -> None:
        self.exchange, self._small_bytes = open_exchange(device), small_bytes
        self._world_size = dist.get_world_size()

    def assign(self, shards: list[range]) -> None:
        self._subtrees = [subtrees_of(own) for own in shards]
        self._most = max(map(len, self._subtrees))
        # A rank that has no shards, since it computes wrongly, must not add for others.
        self._all_add = not all(shards)

    def sum_into(self, buffer: Tensor, parts: list[Tensor]) -> Tensor:
        """The sum over all ranks, in `buffer` (n,), from this rank's `parts`: each (n,), one of its subtrees."""
        if self._world_size == 1:
            total = self._add([parts])
            return buffer if total is buffer else buffer.copy_(total)
        sent = torch.stack(parts + [parts[0]] * (self._most - len(parts))) if self._most > 1 else parts[0][None]
        if self._all_add or sent.nbytes * self._world_size <= self._small_bytes:
            return buffer.copy_(self._add(self.exchange.gather(sent)))
        # Each rank adds a slice, and the slices are gathered: the bytes and the additions of a ring.
        missing = -len(buffer) % self._world_size
        mine = self._add(self.exchange.scatter(torch.nn.functional.pad(sent, (0, missing)) if missing else sent))
        return buffer.copy_(self.exchange.gather(mine).flatten()[: len(buffer)])

    def _add(self, parts: Iterable[Iterable[Tensor]]) -> Tensor:
        """`parts[rank]` are the sums of that rank's subtrees, at least as many rows as it has."""
        tree: TreeSum[Tensor] = TreeSum(torch.add)
        for subtrees, values in zip(self._subtrees, parts, strict=True):
            for subtree, value in zip(subtrees, values, strict=False):
                tree.push(subtree, value)
        return tree.total()


def _add_gradients(left: Gradients, right: Gradients) -> Gradients:
    torch._foreach_add_(list(left.values()), list(right.values()))
    return left


def _take(parameter: Tensor) -> Tensor:
    gradient = parameter.grad
    assert gradient is not None, "a parameter without a gradient: DDP would wait for it forever"
    parameter.grad = None
    return gradient


def _side_stream(device: torch.device) -> torch.Stream | None:
    return module_of(device).Stream() if connects_gpus(device) else None
