"""Who am I? torchrun, srun or a plain `python`: one description, whatever the launcher."""

import os
from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class Launch:
    """This process among all processes of the run, as the launcher describes it. No group exists yet."""

    launcher: str
    """`torchrun`, `srun` or `python`."""
    rank: int
    local_rank: int
    world_size: int

    @property
    def is_main(self) -> bool:
        return self.rank == 0


def describe_launch() -> Launch:
    """Read the launcher's environment variables. torchrun wins over srun, since it also runs inside SLURM steps.

    SLURM_STEP_NUM_TASKS is set by srun alone, so a bare `python` inside an sbatch script is one process.
    """
    env = os.environ
    if "RANK" in env and "WORLD_SIZE" in env:
        return Launch(
            launcher="torchrun",
            rank=int(env["RANK"]),
            local_rank=int(env.get("LOCAL_RANK", "0")),
            world_size=int(env["WORLD_SIZE"]),
        )
    if int(env.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return Launch(
            launcher="srun",
            rank=int(env["SLURM_PROCID"]),
            local_rank=int(env["SLURM_LOCALID"]),
            world_size=int(env["SLURM_STEP_NUM_TASKS"]),
        )
    return Launch(launcher="python", rank=0, local_rank=0, world_size=1)


def device_of(launch: Launch) -> torch.device:
    """The GPU of this local rank; several ranks share a GPU where there are more ranks than GPUs."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", launch.local_rank % torch.cuda.device_count())
