import sys
from pathlib import Path

import pytest

from launch.context import Launch, describe_launch, restart_command

LAUNCHERS = (
    *("RANK", "LOCAL_RANK", "WORLD_SIZE"),
    *("SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_NUM_TASKS"),
)


SRUN = {
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NUM_TASKS": "7",
}


TORCHRUN = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4"}


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, ("python", 0, 0, 1)),
        (SRUN, ("srun", 5, 1, 7)),
        (TORCHRUN, ("torchrun", 3, 1, 4)),
        (SRUN | TORCHRUN, ("torchrun", 3, 1, 4)),
        # A batch script without srun: SLURM's variables are there, but no step.
        ({"SLURM_JOB_ID": "7", "SLURM_PROCID": "0"}, ("python", 0, 0, 1)),
    ],
)
def test_launchers(monkeypatch: pytest.MonkeyPatch, env: dict[str, str], expected: tuple[str, int, int, int]) -> None:
    for name in LAUNCHERS:
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    process = describe_launch()
    assert (process.launcher, process.rank, process.local_rank, process.world_size) == expected
    assert process.is_main == (process.rank == 0)


def test_the_command_that_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def command(launcher: str, world_size: int) -> str:
        process = Launch(launcher=launcher, rank=0, local_rank=0, world_size=world_size)
        return restart_command(process, ["train_ddp.py", "data.files.train=a b.txt"])

    words = "train_ddp.py 'data.files.train=a b.txt'"
    monkeypatch.setattr(sys, "orig_argv", [".venv/bin/python", "train_ddp.py"])
    assert command("python", 1) == f".venv/bin/python {words}"
    assert command("srun", 4) == f"srun --ntasks=4 .venv/bin/python {words}"
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    here = Path(sys.executable).parent
    monkeypatch.setenv("PATH", str(here))
    assert command("torchrun", 2) == f"torchrun --standalone --nproc_per_node=2 {words}"
    monkeypatch.setenv("GROUP_WORLD_SIZE", "3")
    assert command("torchrun", 6) == f"torchrun --nnodes=3 ... --nproc_per_node=2 {words}"
    monkeypatch.setenv("PATH", "/nowhere")  # an environment that is not active
    assert command("torchrun", 6).startswith(f"{here}/torchrun --nnodes=3")
