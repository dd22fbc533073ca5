"""What `Lockstep` refuses, and what it does between the shards of a step. tests/test_same_bits.py shows that bits are equal."""

from pathlib import Path

import pytest
import torch
from torch import nn

from launch.lockstep import Lockstep
from tests.helpers import run_ranks


def test_gradients_are_sums_and_dropout_is_that_of_the_shard(tmp_path: Path) -> None:
    run_ranks(_two_steps, 2, tmp_path)


def _two_steps(rank: int) -> None:
    model = nn.Linear(3, 1, bias=False)
    lockstep = Lockstep(model, shards=5, seed=1)
    for step in (0, 1):
        drawn = {}
        for shard in lockstep.shards(step):
            drawn[shard.number] = torch.rand(1).item()
            shard.model(torch.full((1, 3), float(shard.number + 1))).sum().backward()
        assert sorted(drawn) == [[0, 1], [2, 3, 4]][rank]
        assert model.weight.grad is not None
        assert model.weight.grad.tolist() == [[15.0] * 3]  # 1 + 2 + 3 + 4 + 5, not twice in the second step
        assert len(set(drawn.values())) == len(drawn)
    lockstep.close()


def test_what_is_refused(tmp_path: Path) -> None:
    run_ranks(_refused, 2, tmp_path)


def _refused(rank: int) -> None:
    with pytest.raises(ValueError, match="2 processes cannot share 1 shards"):
        Lockstep(nn.Linear(2, 2), shards=1, seed=1)
    with pytest.raises(ValueError, match="1: batch normalisation depends on the rows of a process"):
        Lockstep(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), shards=2, seed=1)
