"""Real ranks and real programs for the tests."""

import json
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.distributed import run as torchrun

from launch.context import describe_launch
from launch.group import process_group

ROOT = Path(__file__).parent.parent

# Importing torch takes seconds: once for all ranks and programs of all tests.
multiprocessing.set_forkserver_preload(["torch._dynamo", "datasets", "train_ddp"])


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
    forked: bool | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program, with this interpreter's `bin` first on the path. `python` and `torchrun` are forked from a process that has
    imported torch, and torchrun's ranks from torchrun, unless they need variables or a folder of their own, or `forked` says otherwise.
    No program of ours shows its user a warning of Python's; only where there is a GPU, other releases of other packages may be
    installed, which may warn."""
    words = [str(word) for word in command]
    if words[0] in can_be_forked() and (forked or (forked is None and env is None and cwd == ROOT)):
        done = _run_forked(words, timeout, stdin, cwd)
    else:
        done = _run_new(words, timeout, env or {}, stdin, cwd)
    assert "Warning: " not in done.stderr or torch.cuda.is_available(), done.stderr
    return done


def can_be_forked() -> tuple[str, ...]:
    """torchrun asks whether there is a GPU. Its forks then cannot use CUDA, unless it asks the driver's management library."""
    asks_nvml = os.environ.get("PYTORCH_NVML_BASED_CUDA_CHECK") == "1"
    return ("python", "torchrun") if asks_nvml or not torch.cuda.is_available() else ("python",)


def _run_new(
    words: list[str], timeout: float, env: dict[str, str], stdin: str | None, cwd: Path
) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        words,
        cwd=cwd,
        env=os.environ | {"PATH": path} | env,
        capture_output=True,
        text=True,
        timeout=timeout,
        input=stdin,
        check=False,
    )


def _run_forked(words: list[str], timeout: float, stdin: str | None, cwd: Path) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as place:
        files = [Path(place) / name for name in ("stdin", "stdout", "stderr")]
        files[0].write_text(stdin or "")
        process = multiprocessing.get_context("forkserver").Process(
            target=_program, args=(words, dict(os.environ), [str(file) for file in files], cwd)
        )
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(words, timeout)
        texts = [file.read_text() if file.exists() else "" for file in files[1:]]
        return subprocess.CompletedProcess(words, process.exitcode, *texts)


def _program(words: list[str], env: dict[str, str], files: list[str], cwd: Path) -> None:
    """Become the program."""
    for number, (name, mode) in enumerate(zip(files, (os.O_RDONLY, *[os.O_WRONLY | os.O_CREAT] * 2), strict=True)):
        os.dup2(os.open(name, mode), number)
    sys.stdin = os.fdopen(0)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path.insert(0, str(ROOT))
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    if words[0] == "torchrun":
        with patch.object(torchrun, "config_from_args", _with_forked_ranks):
            torchrun.main(words[1:])
    else:
        _python(*words[1:])


def _with_forked_ranks(options: Any, read: Any = torchrun.config_from_args) -> tuple[Any, Any, list[str]]:
    """torchrun can start a function instead of a script, and fork instead of starting Python anew."""
    config, _, words = read(options)
    config.start_method = "fork"
    return config, _rank_of_torchrun, words


def _rank_of_torchrun(*words: str) -> None:
    _python(*(word for word in words if word != "-u"))


def _python(*words: str) -> None:
    """What `python` does with these words."""
    if words[0] == "-m":
        sys.argv = list(words[1:])
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(words)
        runpy.run_path(words[0], run_name="__main__")


def train(*words: str | Path, world_size: int = 1, **options: Any) -> subprocess.CompletedProcess[str]:
    """A training run: plain `python` for one process, torchrun for more."""
    launcher = ["torchrun", "--standalone", f"--nproc_per_node={world_size}"] if world_size > 1 else ["python"]
    return run(*launcher, "train_ddp.py", *words, **options)


def run_many(world_size: int, commands: list[tuple[int | None, list[str]]], *, forked: bool | None = None) -> None:
    """One torchrun for many runs, since most of a small run's time is the start of its processes. Each run is
    abandoned on all ranks in the step after `stop`, if that is given."""
    if commands:
        launcher = ("torchrun", "--standalone", f"--nproc_per_node={world_size}")
        done = run(*launcher, "-m", "tests.faults", "many", json.dumps(commands), forked=forked)
        assert done.returncode == 0, done.stderr


@contextmanager
def alone() -> Iterator[None]:
    """A process group of this process only."""
    with process_group(describe_launch(), timeout_seconds=60):
        yield
