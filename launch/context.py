"""Who am I? torchrun, srun or a plain `python`: one description, one process group, one code path."""

import gc
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import HashStore, PrefixStore, Store, rendezvous  # type: ignore[attr-defined]


@dataclass(frozen=True, kw_only=True)
class Launch:
    """This process among all processes of the run, as the launcher describes it. No group exists yet."""

    launcher: str
    """`torchrun`, `srun` or `python`."""
    rank: int
    local_rank: int
    world_size: int
    local_world_size: int

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
            local_world_size=int(env.get("LOCAL_WORLD_SIZE", env["WORLD_SIZE"])),
        )
    if int(env.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return Launch(
            launcher="srun",
            rank=int(env["SLURM_PROCID"]),
            local_rank=int(env["SLURM_LOCALID"]),
            world_size=int(env["SLURM_STEP_NUM_TASKS"]),
            local_world_size=_tasks_on_this_node(env),
        )
    return Launch(launcher="python", rank=0, local_rank=0, world_size=1, local_world_size=1)


def _tasks_on_this_node(env: os._Environ[str]) -> int:
    """SLURM writes `4(x2),3`: four tasks on each of the first two nodes, three on the next."""
    counts: list[int] = []
    for part in env.get("SLURM_STEP_TASKS_PER_NODE", env["SLURM_STEP_NUM_TASKS"]).split(","):
        tasks, _, repeat = part.partition("(x")
        counts += [int(tasks)] * int(repeat.rstrip(")") or "1")
    return counts[int(env.get("SLURM_NODEID", "0"))]


def device_of(launch: Launch) -> torch.device:
    """The GPU of this local rank; several ranks share a GPU where there are more ranks than GPUs."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", launch.local_rank % torch.cuda.device_count())


@contextmanager
def process_group(launch: Launch, *, timeout_seconds: float) -> Iterator[torch.device]:
    """Join the run's process group, a group of one included, and yield this rank's device.

    NCCL joins GPUs, gloo joins CPUs (and ranks that share a GPU, which NCCL refuses). On an exception the group is
    left without a further collective: the other ranks may never come to it.
    """
    device = device_of(launch)
    timeout = timedelta(seconds=timeout_seconds)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(
        backend=_backend(launch, device),
        store=_store(launch, timeout),
        rank=launch.rank,
        world_size=launch.world_size,
        timeout=timeout,
    )
    yield device
    # DDP's reducer must be gone and every rank must be here before the group's worker threads end.
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


def _backend(launch: Launch, device: torch.device) -> str:
    one_gpu_each = device.type == "cuda" and launch.local_world_size <= torch.cuda.device_count()
    return "cpu:gloo,cuda:nccl" if one_gpu_each else "gloo"


def _store(launch: Launch, timeout: timedelta) -> Store:
    if launch.launcher == "python":
        return HashStore()
    if launch.launcher == "srun":
        _set_srun_rendezvous()
    store, _, _ = next(rendezvous("env://", launch.rank, launch.world_size, timeout=timeout))
    # torchrun's agent keeps its store across restarts, and with it the dead workers' addresses (pytorch#135712).
    return PrefixStore("attempt-" + os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)


def _set_srun_rendezvous() -> None:
    """srun gives no address: rank 0 runs on the step's first node (where srun was typed may be another). The job id
    spreads jobs that share a node over ports below those that Linux gives out by itself."""
    os.environ.setdefault("MASTER_ADDR", first_host(os.environ.get("SLURM_STEP_NODELIST", "127.0.0.1")))
    os.environ.setdefault("MASTER_PORT", str(20000 + int(os.environ.get("SLURM_JOB_ID", "0")) % 12000))


def first_host(nodelist: str) -> str:
    """`gpu[07-09,12],login1` -> `gpu07`."""
    match = re.match(r"([^,\[]+)(?:\[(\d+)[^\]]*\]([^,]*))?", nodelist)
    if match is None:
        raise RuntimeError(f"SLURM_STEP_NODELIST={nodelist!r} names no host; set MASTER_ADDR")
    return "".join(part or "" for part in match.groups())
