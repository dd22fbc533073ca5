from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from launch.collectives import check_agreement, sum_gradients, sum_over_ranks
from tests.helpers import run_ranks


def _check(rank: int) -> None:
    assert sum_over_ranks(torch.tensor([1.0, rank])).tolist() == [2.0, 1.0]
    check_agreement("step", 7, torch.device("cpu"))
    with pytest.raises(RuntimeError, match=r"ranks disagree on the step: \[0, 1\]"):
        check_agreement("step", rank, torch.device("cpu"))
    model = DistributedDataParallel(nn.Linear(1, 1, bias=False))
    model.register_comm_hook(None, sum_gradients)
    model(torch.tensor([[float(rank + 1)]])).sum().backward()
    # 1 + 2: a sum, not DDP's mean.
    assert model.module.weight.grad.item() == 3.0


@pytest.mark.slow
def test_two_ranks(tmp_path: Path) -> None:
    run_ranks(_check, 2, tmp_path)
