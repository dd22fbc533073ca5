"""Row-sparse gradients: what each shard adds to the rows of a table, in the order of the shards at every number of ranks."""

from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from launch.exchange import open_exchange
from launch.tree import share


class RowGradient(NamedTuple):
    """The gradients of S shards, each of M weighted sums of K rows. The gradient of row `rows[s, m, k]` is `factors[s, m, k] *
    values[s, m]`, added up over s, m and k in this order. This is smaller than K values for each sum, and nothing is sorted before all
    shards are together."""

    rows: Tensor
    """(S, M, K) int64; a row may occur many times."""
    factors: Tensor
    """(S, M, K) float32."""
    values: Tensor
    """(S, M, dim) float32: the gradient of each sum."""

    def total(self, table_rows: int) -> tuple[Tensor, Tensor]:
        """Return the rows (N,) of a table of `table_rows`, in the order in which they first occur, and their gradients (N, dim), added
        in the order of `rows`.

        On a GPU, the host would have to wait to learn the number of rows. So N is as large as it may be there, and unused places hold the index
        `table_rows`, a row that does not exist, and gradients of zero.
        """
        rows = self.rows.flatten()
        places = torch.arange(len(rows), dtype=torch.int64, device=rows.device)
        # For each row of the table, the place where it first occurs. To sort the rows takes ten times as long.
        first = rows.new_full((table_rows,), len(rows)).scatter_reduce_(0, rows, places, "amin").index_select(0, rows)
        is_first = first == places
        number = is_first.cumsum(0) - 1
        size = int(number[-1]) + 1 if rows.device.type == "cpu" else min(len(rows), table_rows)
        # Later occurrences are written to one extra place, which is cut off.
        found = rows.new_full((size + 1,), table_rows)
        write_rows(found, number.where(is_first, size), rows)
        added = (self.values[:, :, None] * self.factors[..., None]).flatten(0, 2)
        return found[:size], added.new_zeros(size, added.shape[1]).index_add_(0, number.index_select(0, first), added)


def existing_rows(rows: Tensor, values: Tensor, table_rows: int) -> tuple[Tensor, Tensor]:
    """Prepare the result of `RowGradient.total` for an optimizer: replace rows that do not exist by the first row and its values, which
    `write_rows` may write several times."""
    if rows.device.type == "cpu":
        return rows, values
    places = torch.arange(len(rows), device=rows.device).where(rows < table_rows, 0)
    return rows.index_select(0, places), values.index_select(0, places)


def write_rows(table: Tensor, rows: Tensor, values: Tensor) -> None:
    """`table[rows] = values`, if a row that occurs several times has the same values. Then their order does not matter, and the
    deterministic kernel of CUDA, which sorts the rows with some twenty launches, is not needed."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    table.index_copy_(0, rows, values)
    torch.use_deterministic_algorithms(deterministic)


class RowReduction:
    """Every rank gets the gradients of all shards in one exchange, and adds them in the order of the shards."""

    def __init__(self, device: torch.device, *, shards: int) -> None:
        self.exchange = open_exchange(device)
        self.assign(share(dist.get_world_size(), shards))

    def assign(self, shards: list[range]) -> None:
        """Which rank computes which shards; what a rank without shards computes is ignored."""
        self._counts = [len(own) for own in shards]

    def sum(self, own: RowGradient, *, table_rows: int) -> tuple[Tensor, Tensor]:
        """`own`: the gradients of this rank's shards; all shards have equally many sums. Returns the result of `RowGradient.total` for
        all shards."""
        every = own if len(self._counts) == 1 else self._gather(own)
        return every.total(table_rows)

    def _gather(self, own: RowGradient) -> RowGradient:
        missing = max(self._counts) - len(own.rows)
        sent = torch.nn.functional.pad(_pack(own), (0, 0, 0, 0, 0, missing))
        received = self.exchange.gather(sent)
        # `cat` copies, so the next exchange may overwrite what was received.
        return _unpack(
            torch.cat([received[rank, :count] for rank, count in enumerate(self._counts)]), own.rows.shape[2]
        )

    def close(self) -> None:
        """Call this before the process group ends."""
        self.exchange.close()


def _pack(gradient: RowGradient) -> Tensor:
    """(S, M, 2 K + dim): row numbers travel as the bits of floats."""
    return torch.cat([gradient.rows.int().view(torch.float32), gradient.factors, gradient.values], dim=2)


def _unpack(packed: Tensor, per_sum: int) -> RowGradient:
    sizes = [per_sum, per_sum, packed.shape[2] - 2 * per_sum]
    rows, factors, values = packed.split(sizes, dim=2)  # type: ignore[no-untyped-call]
    return RowGradient(rows.contiguous().view(torch.int32).long(), factors, values)
