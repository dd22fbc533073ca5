"""Shared memory and process group give every rank the same."""

import os
import signal
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from launch.exchange import GroupExchange, HostExchange, open_exchange
from tests.helpers import run_ranks, run_ranks_until_one_dies

CPU = torch.device("cpu")
CAPACITY = 64 << 10
"""Of a slot here, so that messages in several parts are small too."""


def _gather(rank: int) -> None:
    world_size = dist.get_world_size()
    group = dist.new_group()
    host = HostExchange.open(group, capacity=CAPACITY)
    assert host is not None
    for size in (0, 1, 5, CAPACITY // 4, CAPACITY // 4 + 3, CAPACITY):
        for dtype in (torch.float32, torch.int32, torch.float64):
            own = (torch.arange(2 * size) + 1000 * rank).to(dtype).view(2, size)
            if rank == size % world_size:
                time.sleep(0.005)  # the others wait for the slow one
            for kind in (host, GroupExchange(group, CPU)):
                everything = kind.gather(own)
                assert everything.shape == (world_size, 2, size)
                for other in range(world_size):
                    assert torch.equal(everything[other], own - (1000 * rank) + 1000 * other)
        if size % world_size == 0:
            parts = [kind.scatter(own).clone() for kind in (host, GroupExchange(group, CPU))]
            assert torch.equal(*parts)


def _many(rank: int) -> None:
    """Nothing but the exchange itself keeps the ranks together."""
    host, world_size = HostExchange.open(dist.new_group()), dist.get_world_size()
    assert host is not None
    sizes, pauses = torch.Generator().manual_seed(0), torch.Generator().manual_seed(rank)
    for number in range(400):
        size = int(torch.randint(1, 3000, (1,), generator=sizes))
        everything = host.gather(torch.full((size,), world_size * number + rank))
        if torch.rand((), generator=pauses) < 0.1:
            time.sleep(0.002)  # the others go on as far as they may
        assert torch.equal(everything, (world_size * number + torch.arange(world_size))[:, None].expand(-1, size))


def _dies(rank: int, folder: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # from the parent, when rank 1 has ended
    opened = open_exchange(CPU)
    assert isinstance(opened, HostExchange)
    opened.gather(torch.zeros(3))
    if rank == 1:
        os._exit(7)
    with pytest.raises(dist.DistNetworkError, match="rank 1 has gone"):
        opened.gather(torch.zeros(3))
    (Path(folder) / "noticed").touch()
    os._exit(0)


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_the_same_through_memory_and_group(tmp_path: Path, world_size: int) -> None:
    run_ranks(_gather, world_size, tmp_path)


@pytest.mark.slow
def test_a_slow_reader_still_finds_its_message(tmp_path: Path) -> None:
    run_ranks(_many, 3, tmp_path)


@pytest.mark.slow
def test_a_rank_that_dies_is_noticed_at_once(tmp_path: Path) -> None:
    run_ranks_until_one_dies(_dies, 2, tmp_path)
