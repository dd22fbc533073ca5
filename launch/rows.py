"""Row-sparse gradients: each shard's rows of a table, added in the order of the shards at every number of ranks."""

import torch
import torch.distributed as dist
from torch import Tensor

from launch.exchange import open_exchange
from launch.tree import shards_of

RowGradient = tuple[Tensor, Tensor]
"""Rows (N,) int64, and values (N, dim) for them."""


class RowReduction:
    """Every rank gets each shard's rows and values in one exchange, and adds them in the order of the shards."""

    def __init__(self, device: torch.device, *, shards: int) -> None:
        ranks = range(dist.get_world_size())
        self._counts = [len(shards_of(rank, len(ranks), shards)) for rank in ranks]
        self.exchange = open_exchange(device)

    def sum(self, own: list[RowGradient], capacity: int) -> RowGradient:
        """`own`: of this rank's shards. No shard of any rank has more than `capacity` rows; all ranks know this number, so
        that the sizes of messages need not be exchanged. Rows come back sorted, each one once."""
        shards = own if len(self._counts) == 1 else self._gather(own, capacity)
        rows, place = torch.cat([rows for rows, _ in shards]).unique(return_inverse=True)  # type: ignore[no-untyped-call]
        values = torch.cat([values for _, values in shards])
        return rows, values.new_zeros(len(rows), values.shape[1]).index_add_(0, place, values)

    def _gather(self, own: list[RowGradient], capacity: int) -> list[RowGradient]:
        dim, device = own[0][1].shape[1], own[0][1].device
        # The row number travels as the bits of a float, beside its values; -1 where there is none.
        sent = torch.full((max(self._counts), capacity, dim + 1), -1, dtype=torch.int32, device=device)
        for packed, (rows, values) in zip(sent, own, strict=False):
            packed[: len(rows), 0] = rows
            packed[: len(rows), 1:] = values.view(torch.int32)
        received = self.exchange.gather(sent)
        shards = [shard for rank, count in enumerate(self._counts) for shard in received[rank, :count]]
        filled = [shard[shard[:, 0] >= 0] for shard in shards]
        return [(shard[:, 0].long(), shard[:, 1:].contiguous().view(torch.float32)) for shard in filled]

    def close(self) -> None:
        """Call this before the process group ends."""
        self.exchange.close()
