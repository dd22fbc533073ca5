"""How this process was started: by torchrun, by srun, or by plain `python`. One description for all three."""

import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parent.parent
PROGRAM = next(path for path in (_ROOT / "train_ddp.py", _ROOT / "seq" / "entry" / "train_ddp.py") if path.is_file())
"""The training program: in a clone beside this folder, and inside `seq` when installed."""
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


class LaunchError(Exception):
    """The variables of the launcher are incomplete or wrong."""


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
    if env.get("RANK") and env.get("WORLD_SIZE"):
        return Launch(
            launcher="torchrun",
            rank=_number("RANK"),
            local_rank=_number("LOCAL_RANK", "0"),
            world_size=_number("WORLD_SIZE"),
        )
    if _number("SLURM_STEP_NUM_TASKS", "1") > 1:
        return Launch(
            launcher="srun",
            rank=_number("SLURM_PROCID"),
            local_rank=_number("SLURM_LOCALID"),
            world_size=_number("SLURM_STEP_NUM_TASKS"),
        )
    return Launch(launcher="python", rank=0, local_rank=0, world_size=1)


def _number(name: str, default: str = "") -> int:
    value = os.environ.get(name, default)
    if not value.isdigit():
        raise LaunchError(
            f"the variable {name}={value!r} is not a number; the launcher sets it: use torchrun or srun, or unset it"
        )
    return int(value)


def restart_command(process: Launch, words: Sequence[str]) -> str:
    """The command that starts this program again, on each host; `words` is `sys.argv`."""
    if process.launcher == "torchrun":
        hosts = os.environ.get("GROUP_WORLD_SIZE", "1")
        processes = os.environ.get("LOCAL_WORLD_SIZE", process.world_size)
        how = "--standalone" if hosts == "1" else f"--nnodes={hosts} ..."
        return f"{_torchrun()} {how} --nproc_per_node={processes} {shlex.join(words)}"
    typed = shlex.join([sys.orig_argv[0], *words])
    return f"srun --ntasks={process.world_size} {typed}" if process.launcher == "srun" else typed


def _torchrun() -> str:
    """Return `torchrun`, as its full path if the shell would not find it, as after `make train`, which activates no environment."""
    ours = Path(sys.executable).with_name("torchrun")
    return "torchrun" if shutil.which("torchrun") == str(ours) or not ours.exists() else shlex.quote(str(ours))


def launch_warnings(process: Launch) -> Iterator[str]:
    """Warnings about GPUs that are not used, or are shared by several processes."""
    import torch  # takes a second, and `--help` needs this file too

    from launch.device import gpu_count

    if not (gpus := gpu_count()):
        if NVIDIA_DRIVER.exists() and os.environ.get("CUDA_VISIBLE_DEVICES", "all") != "":
            why = (
                "this torch is a CPU build"
                if torch.version.cuda is None
                else "its driver may be too old for this torch"
            )
            yield f"this machine has an NVIDIA GPU, but torch cannot use it ({why}); computing on the CPU"
        return
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if process.launcher == "python" and gpus > 1:
        yield f"one process uses one of {gpus} GPUs; all: torchrun --standalone --nproc_per_node={gpus} train_ddp.py ..."
    if local > gpus:
        yield f"{local} processes share {gpus} GPU(s), which is slow; start one a GPU: --nproc_per_node={gpus}"
