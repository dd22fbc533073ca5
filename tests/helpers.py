"""Real ranks and real programs for the tests."""

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

ROOT = Path(__file__).parent.parent

# Importing torch takes seconds: once for all ranks of all tests.
multiprocessing.set_forkserver_preload(["torch", "torch.distributed", "torch.nn.parallel", "datasets"])


def _rank(rank: int, function: Callable[..., None], world_size: int, store: str, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world_size)
    function(rank, *arguments)
    dist.barrier()
    dist.destroy_process_group()


def run_ranks(function: Callable[..., None], world_size: int, folder: Path, *arguments: Any) -> None:
    """Call `function(rank, *arguments)` in `world_size` spawned processes that share a gloo group."""
    store = folder / f"store-{function.__name__}-{world_size}"
    everything = (function, world_size, str(store), arguments)
    mp.start_processes(_rank, everything, nprocs=world_size, start_method="forkserver")  # type: ignore[attr-defined,no-untyped-call]


def run_ranks_until_one_dies(function: Callable[..., None], world_size: int, folder: Path) -> None:
    """Call `function(rank, folder)` in processes of which one dies; another must then create `folder/noticed`."""
    with pytest.raises(mp.ProcessExitedException):  # type: ignore[attr-defined]
        run_ranks(function, world_size, folder, str(folder))
    limit = time.monotonic() + 10
    while not (folder / "noticed").exists():
        assert time.monotonic() < limit
        time.sleep(0.05)


def run(
    *command: str | Path,
    timeout: float = 300,
    env: dict[str, str] | None = None,
    stdin: str | None = None,
    cwd: Path = ROOT,
) -> subprocess.CompletedProcess[str]:
    """Run a program, with this interpreter's `bin` first on the path."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=os.environ | {"PATH": path} | (env or {}),
        capture_output=True,
        text=True,
        timeout=timeout,
        input=stdin,
        check=False,
    )


def train(*words: str | Path, world_size: int = 1, **options: Any) -> subprocess.CompletedProcess[str]:
    """A training run: plain `python` for one process, torchrun for more."""
    launcher = ["torchrun", "--standalone", f"--nproc_per_node={world_size}"] if world_size > 1 else ["python"]
    return run(*launcher, "train_ddp.py", *words, **options)
