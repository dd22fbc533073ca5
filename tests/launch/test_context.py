import pytest

from launch.context import describe_launch
from launch.rendezvous import first_host

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


@pytest.mark.parametrize(
    ("nodelist", "host"),
    [
        ("gpu[07-09,12],login1", "gpu07"),
        ("a1", "a1"),
        ("a1,b2", "a1"),
        ("n[3]-ib,n4", "n3-ib"),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
def test_first_host(nodelist: str, host: str) -> None:
    assert first_host(nodelist) == host
