"""Row-sparse gradients: what each shard adds to the rows of a table, in the order of the shards at every number of ranks."""

from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from launch.exchange import open_exchange
from launch.tree import shards_of


class RowGradient(NamedTuple):
    """The gradient of M weighted sums of K rows. The gradient of row `rows[m, k]` is `factors[m, k] * values[m]`, added up over m and k.
    This is smaller than K values for each sum, and nothing is sorted before all shards are together."""

    rows: Tensor
    """(M, K) int64; a row may occur many times."""
    factors: Tensor
    """(M, K) float32."""
    values: Tensor
    """(M, dim) float32: the gradient of each sum."""

    def total(self, table_rows: int, most: int) -> tuple[Tensor, Tensor]:
        """Return the rows (N,) of a table of `table_rows`, in the order in which they first occur, and their gradients (N, dim), added
        in the order of `rows`.

        On a GPU, the host would have to wait to learn the number of rows. So N is `most` there, and unused places hold the index
        `table_rows`, a row that does not exist, and gradients of zero.
        """
        rows = self.rows.flatten()
        places = torch.arange(len(rows), dtype=torch.int64, device=rows.device)
        # For each row of the table, the place where it first occurs. To sort the rows takes ten times as long.
        first = rows.new_full((table_rows,), len(rows)).scatter_reduce_(0, rows, places, "amin").index_select(0, rows)
        is_first = first == places
        number = is_first.cumsum(0) - 1
        size = int(number[-1]) + 1 if rows.device.type == "cpu" else min(most, table_rows)
        # Later occurrences are written to one extra place, which is cut off.
        found = rows.new_full((size + 1,), table_rows).index_copy_(0, number.where(is_first, size), rows)[:size]
        added = (self.values[:, None] * self.factors[:, :, None]).flatten(0, 1)
        return found, added.new_zeros(size, added.shape[1]).index_add_(0, number.index_select(0, first), added)


def existing_rows(rows: Tensor, values: Tensor, table_rows: int) -> tuple[Tensor, Tensor]:
    """Prepare the result of `RowGradient.total` for an optimizer: replace rows that do not exist by the first row and its values. The
    optimizer may then write all rows with `index_copy_`; it writes the first row several times with the same values."""
    if rows.device.type == "cpu":
        return rows, values
    places = torch.arange(len(rows), device=rows.device).where(rows < table_rows, 0)
    return rows.index_select(0, places), values.index_select(0, places)


class RowReduction:
    """Every rank gets the gradients of all shards in one exchange, and adds them in the order of the shards."""

    def __init__(self, device: torch.device, *, shards: int) -> None:
        ranks = range(dist.get_world_size())
        self._counts = [len(shards_of(rank, len(ranks), shards)) for rank in ranks]
        self.exchange = open_exchange(device)

    def sum(self, own: list[RowGradient], *, table_rows: int, capacity: int) -> tuple[Tensor, Tensor]:
        """`own`: the gradients of this rank's shards, each with 1 to `capacity` sums. All ranks know `capacity`, so message sizes need
        not be exchanged. Returns the result of `RowGradient.total` for all shards."""
        shards = own if len(self._counts) == 1 else self._gather(own, capacity)
        per_sum = own[0].rows.shape[1]
        every = RowGradient(*map(torch.cat, zip(*shards, strict=True)))
        return every.total(table_rows, most=sum(self._counts) * capacity * per_sum)

    def _gather(self, own: list[RowGradient], capacity: int) -> list[RowGradient]:
        _, per_sum = own[0].rows.shape
        sent = torch.stack([_pack(gradient, capacity) for gradient in own])
        missing = max(self._counts) - len(own)
        received = self.exchange.gather(torch.cat([sent, sent[:1].expand(missing, -1, -1)]) if missing else sent)
        # `received` is used up before the next exchange: `sum` copies it.
        return [_unpack(received[rank, :count].flatten(0, 1), per_sum) for rank, count in enumerate(self._counts)]

    def close(self) -> None:
        """Call this before the process group ends."""
        self.exchange.close()


def _pack(gradient: RowGradient, capacity: int) -> Tensor:
    """(capacity, 2 K + dim): row numbers travel as the bits of floats. The rest is padded with sums that add zero to a row that was
    read, which changes no bit."""
    size, per_sum = gradient.rows.shape
    packed = gradient.values.new_zeros(capacity, 2 * per_sum + gradient.values.shape[1])
    rows = packed[:, :per_sum].view(torch.int32)
    rows[:size], rows[size:] = gradient.rows, gradient.rows[0, 0]
    packed[:size, per_sum : 2 * per_sum] = gradient.factors
    packed[:size, 2 * per_sum :] = gradient.values
    return packed


def _unpack(packed: Tensor, per_sum: int) -> RowGradient:
    rows, factors, values = packed.split([per_sum, per_sum, packed.shape[1] - 2 * per_sum], dim=1)  # type: ignore[no-untyped-call]
    return RowGradient(rows.view(torch.int32).long(), factors, values)
