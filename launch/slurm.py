"""SLURM: the batch script of a job, and its submission."""

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from launch.context import PROGRAM

_ROOT = Path(__file__).parent.parent
SCRIPTS = next(path for path in (_ROOT / "seq" / "slurm", _ROOT / "slurm") if path.is_dir())
"""The batch scripts: inside the installed package, or in a clone."""


class SlurmError(Exception):
    """SLURM is missing or refuses the job; the message is SLURM's own."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A request to SLURM."""

    name: str
    log: Path
    """File for the output of the job, from all its starts."""
    nodes: int = 1
    gpus_per_node: str = "0"
    """A number, or a type and a number: `a100:4`."""
    ranks_per_node: int
    time: str
    """The limit, as sbatch writes it: `minutes`, `minutes:seconds`, `hours:minutes:seconds`, `days-hours[:minutes[:seconds]]`."""
    lead: int = 120
    """Seconds before the limit at which the job is warned."""
    start: Literal["torchrun", "srun"] = "torchrun"
    """One torchrun a node, or one SLURM task a rank."""
    options: tuple[str, ...] = ()
    """Further options of sbatch, such as `--account=physics`."""
    seeds: str = ""
    """An array of runs, one a seed: `1-5`, as sbatch writes an array."""

    @property
    def world_size(self) -> int:
        return self.nodes * self.ranks_per_node

    def script(self, words: list[str]) -> str:
        """The batch script that runs `train_ddp.py WORDS` in the directory that it is submitted from."""
        tasks = 1 if self.start == "torchrun" else self.ranks_per_node
        # With a GPU, a rank has a thread that asks for kernels and one that writes checkpoints and logs.
        on_gpus = self.gpus_per_node != "0" or any(option.startswith("--gres=gpu") for option in self.options)
        cores = (2 if on_gpus else 1) * self.ranks_per_node // tasks
        options = [
            f"--job-name={self.name}",
            f"--output={self.log}",
            "--open-mode=append",
            "--requeue",
            f"--nodes={self.nodes}",
            f"--ntasks-per-node={tasks}",
            f"--cpus-per-task={cores}",
            f"--time={self.time}",
            *([f"--gpus-per-node={self.gpus_per_node}"] if self.gpus_per_node != "0" else []),
            *([f"--array={self.seeds}"] if self.seeds else []),
            f"--signal=B:USR1@{self.lead}",
            *self.options,
        ]
        lines = [
            "#!/bin/bash",
            *(f"#SBATCH {shlex.quote(option)}" for option in options),
            f"LOCKSTEP_DIR={shlex.quote(str(PROGRAM.parent))}",
            f"RANKS_PER_NODE={self.ranks_per_node}",
            f"source {shlex.quote(str(SCRIPTS / 'job.sh'))}",
            shlex.join([f"with_{self.start}", *words]) + (f" {self._own_seed()}" if self.seeds else ""),
        ]
        return "\n".join(lines) + "\n"

    def _own_seed(self) -> str:
        """Words for bash: a run of its own for each task of the array. The last word about a key counts."""
        return f'run.seed="$SLURM_ARRAY_TASK_ID" run.name={shlex.quote(self.name)}-seed"$SLURM_ARRAY_TASK_ID"'


def gpus_in(request: str) -> int:
    """The number in `4`, `a100:4`, or the value of `--gres` such as `gpu:a100:4,tmpfs:10G`; 0 if it asks for none. ValueError for anything
    else."""
    parts = [part for part in request.split(",") if part.startswith("gpu")] if "gpu" in request else [request]
    counts = [part.rpartition(":")[2] for part in parts]
    counts = ["1" if part == "gpu" else count for part, count in zip(parts, counts, strict=True)]
    if not all(count.isdigit() for count in counts):
        raise ValueError(f"{request!r} does not say how many GPUs; write 4, a100:4, or --gres=gpu:a100:4")
    return sum(map(int, counts))


def seconds(time: str) -> float:
    """Seconds of a time limit as sbatch writes it; infinity for `UNLIMITED`. ValueError for anything else."""
    if time.upper() in ("UNLIMITED", "INFINITE"):
        return float("inf")
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", time)
    if match is None:
        raise ValueError(f"{time!r} is no time limit; write hours:minutes:seconds, such as 2:00:00")
    days, *rest = match.groups()
    first, second, third = (int(part) if part else None for part in rest)
    assert first is not None
    if days is not None:
        return int(days) * 86400 + first * 3600 + (second or 0) * 60 + (third or 0)
    if third is not None:
        return first * 3600 + (second or 0) * 60 + third
    return first * 60 + (second or 0)


def submit(script: Path) -> int:
    """Submit the script and return the job id. SlurmError if there is no sbatch, or if it refuses the job."""
    try:
        done = subprocess.run(["sbatch", "--parsable", str(script)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise SlurmError("there is no sbatch here; submit from a login node of the cluster") from None
    if done.returncode:
        raise SlurmError(" ".join(done.stderr.split()))
    return int(done.stdout.split(";")[0])
