"""Rows of a table, added in the order of the shards."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from launch.sparse_gradients import RowGradient, RowReduction
from launch.tree import shards_of
from tests.helpers import run_ranks

SHARDS, TABLE = 6, 40


def gradient(shards: range) -> RowGradient:
    """A few sums of two rows for each shard; some rows occur more than once."""
    found = []
    for shard in shards:
        generator = torch.Generator().manual_seed(shard)
        rows = torch.randint(TABLE // 4, (5, 2), generator=generator)
        values = torch.randn(5, 3, generator=generator) * 10 ** torch.randn(5, 1, generator=generator)
        found.append((rows, torch.rand(5, 2, generator=generator), values))
    return RowGradient(*map(torch.stack, zip(*found, strict=True)))


def reference() -> Tensor:
    table = torch.zeros(TABLE, 3)
    for rows, factors, values in zip(*(part.flatten(0, 1) for part in gradient(range(SHARDS))), strict=True):
        for row, factor in zip(rows, factors, strict=True):
            table[row] += factor * values
    return table


def _sum(rank: int) -> None:
    world_size = torch.distributed.get_world_size()
    reduction = RowReduction(torch.device("cpu"), shards=SHARDS)
    for _ in range(2):
        own = gradient(shards_of(rank, world_size, SHARDS))
        rows, values = reduction.sum(own, table_rows=TABLE)
        assert len(rows) == len(set(rows.tolist()))
        table = torch.zeros(TABLE, 3).index_add(0, rows, values)
        assert torch.equal(table, reference())
    reduction.close()


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [1, 2, 4, 6])
def test_the_slow_loop_at_every_world_size(tmp_path: Path, world_size: int) -> None:
    run_ranks(_sum, world_size, tmp_path)
