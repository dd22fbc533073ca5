"""Plain DDP, for comparison: one all-reduce for each bucket; the backend decides the order of the additions."""

from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import GradBucket  # type: ignore[attr-defined]
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from launch.device import SyncTimer

Compression = Literal["none", "fp16", "bf16"]
_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


class PlainReduction:
    """Same interface as OrderedReduction. Autograd adds the gradients of earlier passes in `grad`."""

    def __init__(self, model: DistributedDataParallel, *, compress: Compression) -> None:
        self._dtype, self.sent_bytes = _DTYPES.get(compress), 0
        self.timer = SyncTimer(next(model.parameters()).device)
        model.register_comm_hook(self, PlainReduction._hook)

    def begin(self, shards: range, *, keep: bool = False) -> None:
        """Nothing to do: the order of additions is not fixed."""

    def push(self) -> None:
        """Nothing to do: autograd has added the gradients."""

    def finish(self) -> None:
        """The backward pass is over."""
        self.timer.finish()

    def close(self) -> None:
        """Nothing to do: there is no thread to end."""

    def _hook(self, bucket: GradBucket) -> Future[Tensor]:
        """The *sum* over the ranks; DDP's default is the mean. The loss of each shard was already divided by the targets
        of the whole step. With compression, half the bytes are sent, and values are rounded."""
        self.timer.bucket_ready()
        buffer = bucket.buffer()
        sent = buffer.to(self._dtype or buffer.dtype)
        self.sent_bytes += sent.nbytes
        work = dist.all_reduce(sent, async_op=True)
        assert work is not None
        future: Future[Tensor] = work.get_future().then(lambda done: buffer.copy_(done.value()[0]))
        return future
