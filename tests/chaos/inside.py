"""A training run with a fault inside: python -m tests.chaos.inside FAULT ARGUMENT [words of train_ddp.py]

Each fault replaces functions of the project with `patch.object`, which fails if they are renamed. A process that torchrun has
started again has none.
"""

import os
import pkgutil
import resource
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil

import train_ddp
from launch import rendezvous
from launch.context import describe_launch
from launch.exchange import HostExchange
from seq.run import checkpoint, checkpoints, run
from seq.run.checkpoint import write_checkpoint
from seq.training.evaluation import evaluate
from seq.training.step import Trainer


def _die(where: str) -> None:
    print(f"killed in {where}", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def die_in(argument: str, words: list[str]) -> None:
    """`seq.report.write_report`: kill -9 of the process that calls this function."""
    module, _, name = argument.rpartition(".")
    with patch.object(pkgutil.resolve_name(module), name, lambda *_, **__: _die(name)):
        train_ddp.main(words)


def die_in_save(argument: str, words: list[str]) -> None:
    """`verify:2`: kill -9 in the second check of a written file, before its renaming; `fsync:2`: in the second fsync."""
    where, number = argument.split(":")
    calls: list[int] = []

    def dying(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            calls.append(0)
            if len(calls) == int(number):
                _die(where)
            return original(*arguments)

        return call

    owner, name = (checkpoint, "_verify") if where == "verify" else (os, "fsync")
    with patch.object(owner, name, dying(getattr(owner, name))):
        train_ddp.main(words)


def _with_saves(save: Callable[[Path, BytesIO], None], words: list[str]) -> None:
    with patch.object(checkpoints, "write_checkpoint", save):
        train_ddp.main(words)


def _in_range(argument: str, path: Path) -> bool:
    """`30:90`: true for the checkpoints of steps 30 to 89."""
    begin, end = map(int, argument.split(":"))
    return begin <= int(path.stem[5:]) < end


def little_space(argument: str, words: list[str]) -> None:
    """`30:90`: from the save of step 30 to the one of step 90, no file may grow beyond 5 kB."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def save(path: Path, content: BytesIO) -> None:
        most = 5000 if _in_range(argument, path) else resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
        write_checkpoint(path, content)

    _with_saves(save, words)


def no_descriptors(argument: str, words: list[str]) -> None:
    """`30:90`: in these saves, the process that saves has no file descriptor left."""

    def save(path: Path, content: BytesIO) -> None:
        taken: list[int] = []
        if _in_range(argument, path):
            with suppress(OSError):
                while True:
                    taken.append(os.dup(2))
        try:
            write_checkpoint(path, content)
        finally:
            for number in taken:
                os.close(number)

    resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))
    _with_saves(save, words)


def slow_disk(argument: str, words: list[str]) -> None:
    """Each checkpoint takes so many seconds more."""

    def save(path: Path, content: BytesIO) -> None:
        print("a slow write", flush=True)
        time.sleep(float(argument))
        write_checkpoint(path, content)

    _with_saves(save, words)


def slow_evaluation(argument: str, words: list[str]) -> None:
    """Evaluations take three seconds more; the file `argument` says that one has begun."""

    def slowly(*arguments: Any) -> Any:
        Path(argument).touch()
        time.sleep(3)
        return evaluate(*arguments)

    with patch.object(train_ddp, "evaluate", slowly):
        train_ddp.main(words)


def clock_back(argument: str, words: list[str]) -> None:
    """The clock of the machine goes back by an hour, each time so many seconds after the last one."""
    real, begin = time.time, time.time()
    with patch.object(time, "time", lambda: real() - 3600 * int((real() - begin) / float(argument))):
        train_ddp.main(words)


def _at_step(argument: str, strike: Callable[[], None], words: list[str]) -> None:
    """Call `strike` on the highest rank, before the forward pass of a step."""
    process, calls = describe_launch(), 0

    class StruckTrainer(Trainer):
        def accumulate_gradients(self, shards: Any, keep: int | None = None) -> Any:
            nonlocal calls
            calls += 1
            if self.state.progress.step >= int(argument) and process.rank == process.world_size - 1:
                strike()
            return super().accumulate_gradients(shards, keep)

    with patch.object(run, "Trainer", StruckTrainer):
        train_ddp.main(words)


def no_memory(argument: str, words: list[str]) -> None:
    """From this step on, one rank gets no more memory from the system, and has used up what it had."""
    ballast: list[bytearray] = []

    def strike() -> None:
        used = psutil.Process().memory_info().vms
        resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), resource.RLIM_INFINITY))
        print("no memory is left", flush=True)
        for size in (1 << 20, 1 << 16, 1 << 12, 1 << 8):
            with suppress(MemoryError):
                while True:
                    ballast.append(bytearray(size))

    _at_step(argument, strike, words)


def stale_keys(argument: str, words: list[str]) -> None:
    """In this step a rank leaves keys in torchrun's store, where the next attempt looks, and dies."""

    def strike() -> None:
        process = describe_launch()
        next_attempt = {"TORCHELASTIC_RESTART_COUNT": str(int(os.environ["TORCHELASTIC_RESTART_COUNT"]) + 1)}
        with patch.dict(os.environ, next_attempt):
            store = rendezvous._launcher_store(process, timedelta(seconds=30))
        for rank in range(process.world_size):
            store.set(f"call/{rank}", "dead")
            store.set(f"alive/{rank}", "{}")
        store.set("token/dead", "dead")
        store.add("hang", 1)
        print("stale keys are written", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    _at_step(argument, strike, words)


def other_hosts(argument: str, words: list[str]) -> None:
    """The ranks are on different hosts and share no memory; each step takes so many seconds more. Of all starts."""
    with patch.object(HostExchange, "open", lambda *_, **__: None):
        _at_step("0", lambda: time.sleep(float(argument)), words)


FAULTS = (
    *(die_in, die_in_save, little_space, no_descriptors, slow_disk, slow_evaluation, clock_back, no_memory),
    *(stale_keys, other_hosts),
)

if __name__ == "__main__":
    name, argument, *words = sys.argv[1:]
    fault = {fault.__name__: partial(fault, argument) for fault in FAULTS}[name]
    once = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
    (fault if once or name == "other_hosts" else train_ddp.main)(words)
