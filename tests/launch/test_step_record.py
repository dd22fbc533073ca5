"""Two runs of a script of one's own, of which one has a wrong bit."""

from pathlib import Path

import pytest
import torch
from torch import nn

from launch.lockstep import Lockstep
from launch.step_record import StepRecord, read_shards
from seq.diagnose.differences import compare_records
from seq.errors import UserError
from tests.helpers import run_ranks

pytestmark = pytest.mark.slow


def _script(rank: int, folder: str, wrong: bool, tensors_of: int | None) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Dropout(0.5), nn.Linear(5, 2))
    lockstep = Lockstep(model, shards=4, seed=1, record=StepRecord(folder, tensors_of=tensors_of))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(4):
        for shard in lockstep.shards(step):
            inputs = torch.arange(6.0).view(2, 3) + step + shard.number
            if wrong and (step, shard.number) == (2, 3):
                inputs[1, 2] += 1e-6 * 8
            shard.model(inputs).pow(2).sum().mul(0.01).backward()
        optimizer.step()
    lockstep.close()


def test_the_first_difference_of_two_scripts(tmp_path: Path) -> None:
    for name, world_size, wrong, tensors_of in (
        ("one", 1, False, None),
        ("two", 2, False, 2),
        ("wrong", 3, True, None),
        ("wrong again", 1, True, 2),
    ):
        run_ranks(_script, world_size, _new(tmp_path / f"store {name}"), str(tmp_path / name), wrong, tensors_of)
    assert compare_records(tmp_path / "one", tmp_path / "two") is None
    found = compare_records(tmp_path / "one", tmp_path / "wrong")
    assert found is not None
    assert found.startswith("step 2: gradient of 0.weight (and ")
    found = compare_records(tmp_path / "two", tmp_path / "wrong again")
    assert found is not None
    assert found.startswith("step 2: shard 3: gradient of 0.weight at [")
    assert [set(shard) for shard in read_shards(tmp_path / "two", 2).values()] == [
        {"0.weight", "0.bias", "2.weight", "2.bias"}
    ] * 4
    with pytest.raises(FileExistsError, match="the record of an earlier start"):
        StepRecord(tmp_path / "two")
    with pytest.raises(UserError, match="no step is recorded in both"):
        compare_records(tmp_path / "one", tmp_path / "nothing")


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder
