from pathlib import Path

import pytest
import torch

from launch.collectives import check_agreement, sum_over_ranks
from tests.helpers import run_ranks


def _check(rank: int) -> None:
    assert sum_over_ranks(torch.tensor([1.0, rank])).tolist() == [2.0, 1.0]
    check_agreement("step", 7, torch.device("cpu"))
    with pytest.raises(RuntimeError, match=r"ranks disagree on the step: \[0, 1\]"):
        check_agreement("step", rank, torch.device("cpu"))


@pytest.mark.slow
def test_two_ranks(tmp_path: Path) -> None:
    run_ranks(_check, 2, tmp_path)
