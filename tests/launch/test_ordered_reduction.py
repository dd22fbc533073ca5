"""The tree: one order of adding, kept however the shards are spread over ranks."""

import os
import signal
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from launch.allreduce import PlainReduction
from launch.collectives import check_ranks_agree, tensor_digest
from launch.group import explain_lost_connection
from launch.ordered_reduction import OrderedReduction
from launch.tree import shards_of
from tests.helpers import run_ranks, run_ranks_until_one_dies

SHARDS = (8, 6, 5)


def shard_values(shard: int, size: int = 13) -> Tensor:
    """Values of very different magnitude: another order of adding gives other bits."""
    generator = torch.Generator().manual_seed(shard)
    return torch.randn(size, generator=generator) * 10 ** torch.randn(size, generator=generator)


def reference(shards: int, size: int = 13) -> Tensor:
    """The tree, written out."""
    s = [shard_values(shard, size) for shard in range(shards)]
    first = (s[0] + s[1]) + (s[2] + s[3])
    return first + {8: lambda: (s[4] + s[5]) + (s[6] + s[7]), 6: lambda: s[4] + s[5], 5: lambda: s[4]}[shards]()


def test_the_order_matters() -> None:
    in_a_row = sum((shard_values(shard) for shard in range(1, 8)), shard_values(0))
    assert not torch.equal(in_a_row, reference(8))


def _hooked(rank: int) -> None:
    """The gradient of `weight * value` is the value: DDP adds exactly our numbers, in small buckets and large, exchanged in
    one step and in two."""
    for shards, bucket, small_bytes in product(SHARDS, (25.0, 1e-5), (0, 1 << 20)):
        own = shards_of(rank, torch.distributed.get_world_size(), shards)
        model = DistributedDataParallel(Weights(), bucket_cap_mb=bucket)
        reduction = OrderedReduction(model, shards=shards, small_bytes=small_bytes)
        for _ in range(2):
            for shard in own:
                last = shard == own[-1]
                reduction.begin(range(shard, shard + 1))
                model.require_backward_grad_sync = last
                model(shard).backward()
                if not last:
                    reduction.push()
            reduction.finish()
            assert torch.equal(model.module.first.grad, reference(shards))
            assert torch.equal(model.module.second.grad, reference(shards, 5))
            model.zero_grad()
        reduction.close()


class Weights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(torch.ones(13)), nn.Parameter(torch.ones(5))

    def forward(self, shard: int) -> Tensor:
        return (self.first * shard_values(shard)).sum() + (self.second * shard_values(shard, 5)).sum()


def _plain(rank: int) -> None:
    for compress, tolerance in (("none", 1e-6), ("bf16", 1e-2), ("fp16", 1e-3)):
        model = DistributedDataParallel(nn.Linear(1, 1, bias=False))
        PlainReduction(model, compress=compress)  # type: ignore[arg-type]
        model(torch.tensor([[rank + 1.001]])).sum().backward()
        # 1 + 2: a sum, not DDP's mean.
        assert model.module.weight.grad.item() == pytest.approx(3.002, rel=tolerance)


def _drift(rank: int) -> None:
    tensors = [("a", torch.ones(3)), ("b", torch.zeros(2))]
    check_ranks_agree(tensors, 7, torch.device("cpu"))
    if rank == 2:
        tensors[1][1][0] = -0.0
    with pytest.raises(RuntimeError, match="step 7: rank 2 has another b than the other ranks"):
        check_ranks_agree(tensors, 7, torch.device("cpu"))


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 5])
def test_ordered_sum_at_every_world_size(tmp_path: Path, world_size: int) -> None:
    run_ranks(_hooked, world_size, tmp_path)


@pytest.mark.slow
def test_plain_sum_and_drift(tmp_path: Path) -> None:
    run_ranks(_plain, 2, tmp_path)
    run_ranks(_drift, 4, tmp_path)


def test_digest() -> None:
    assert tensor_digest(torch.zeros(3)) == tensor_digest(torch.zeros(3))
    assert tensor_digest(torch.zeros(1)) != tensor_digest(torch.tensor([-0.0]))
    assert tensor_digest(torch.arange(6.0).view(2, 3).t()) == tensor_digest(torch.tensor([0.0, 3, 1, 4, 2, 5]))


def _dies(rank: int, folder: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # from the parent, when rank 1 has ended
    model = DistributedDataParallel(Weights(), bucket_cap_mb=1e-5)
    reduction = OrderedReduction(model, shards=2)
    model(rank).backward()
    reduction.finish()
    loss = model(rank)  # now DDP has two buckets
    if rank == 1:
        os._exit(7)
    loss.backward()
    with pytest.raises(RuntimeError) as raised:
        reduction.finish()
    assert explain_lost_connection(raised.value) is not None
    (Path(folder) / "noticed").touch()
    os._exit(0)


@pytest.mark.slow
def test_a_lost_rank_is_reported_from_the_thread_of_the_exchanges(tmp_path: Path) -> None:
    run_ranks_until_one_dies(_dies, 2, tmp_path)
