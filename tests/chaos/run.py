"""The run that is disturbed: its processes, and how far it is."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.helpers import ROOT
from tests.runs import result

SAVE_EVERY = 15
LIMIT = 240
"""Seconds. Nothing that this machine is asked for may take longer, even with several runs on it."""


@dataclass
class Kind:
    """A run's command line, and the result of the run that nobody disturbed."""

    words: list[str]
    sizes: tuple[int, ...]
    """Numbers of processes to start it with."""
    reference: dict[str, Any] = field(default_factory=dict)
    losses: dict[int, float] = field(default_factory=dict)
    """By step, of that run."""


@dataclass
class Run:
    """One run directory, and what is done to it. `process`: the torchrun that was started last."""

    name: str
    folder: Path
    random: random.Random
    kind: Kind
    process: subprocess.Popen[str] | None = None
    window: tuple[int, int] = (5, 10)
    """Steps between which the next fault strikes."""
    more: tuple[str, ...] = ()
    """Words of all its starts."""
    fault: str = ""
    """The name of the fault that strikes now, and by fault the seconds to a step that the run had not done before."""
    recoveries: dict[str, float] = field(default_factory=dict)
    had_wrong_data: bool = False
    """It has trained on data that somebody had damaged, and has done those steps again."""
    _metrics_from: int = 0
    _log_from: int = 0

    @property
    def directory(self) -> Path:
        return self.folder / self.name

    @property
    def log(self) -> str:
        """What the programs have printed, of all starts."""
        path = self.folder / f"{self.name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def said(self, text: str) -> int:
        """How often the programs have printed this since the last start."""
        return self.log[self._log_from :].count(text)

    # ---- processes ------------------------------------------------------------------------------------------------

    def start(
        self,
        *more: str,
        size: int | None = None,
        fault: Sequence[str] = (),
        restarts: int = 20,
        launcher: Sequence[str] = ("--standalone",),
        before: Sequence[str] = (),
    ) -> subprocess.Popen[str]:
        """torchrun. `size`: by default, any; `fault`: one of `inside.py`, with its argument; `before`: a program that runs it."""
        size = size or self.random.choice(self.kind.sizes)
        trainer = ["-m", "tests.chaos.inside", *fault] if fault else [str(ROOT / "train_ddp.py")]
        torchrun = [*before, str(Path(sys.executable).with_name("torchrun"))]
        command = [*torchrun, *launcher, f"--nproc_per_node={size}", f"--max-restarts={restarts}", *trainer]
        words = [*self.kind.words, f"run.output_dir={self.folder}", f"run.name={self.name}", *self.more, *more]
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        with (self.folder / f"{self.name}.log").open("a") as log:
            return subprocess.Popen([*command, *words], cwd=ROOT, env=env, stdout=log, stderr=log, text=True)

    def begin(self, *more: str, **options: Any) -> subprocess.Popen[str]:
        """Start it in another way than before; one that is still at it is asked to stop first."""
        if self.alive():
            self.stop()
        metrics = self.directory / "metrics.jsonl"
        self._metrics_from = metrics.stat().st_size if metrics.exists() else 0
        self._log_from = len(self.log)
        self.process = self.start(*more, **options)
        return self.process

    def going(self) -> subprocess.Popen[str]:
        """The torchrun that trains now, or a new one."""
        if self.process is not None and self.alive():
            return self.process
        return self.begin()

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(LIMIT)

    def finish(self, *more: str, size: int | None = None) -> None:
        """Let it end by itself, started again if need be."""
        if self.is_finished():
            return
        process = self.process if self.process is not None and self.alive() else self.begin(*more, size=size)
        assert process.wait(LIMIT) == 0, f"the last start failed, see {self.log[-2000:]}"

    def is_finished(self) -> bool:
        ended = not self.alive() and (self.directory / "result.json").exists()
        return ended and result(self.directory)["status"] == "finished"

    def kill_all(self) -> None:
        """As a host that loses its power."""
        process = self.going()
        for victim in [psutil.Process(process.pid), *workers(process)]:
            victim.kill()
        process.wait()

    # ---- progress -------------------------------------------------------------------------------------------------

    def lines(self) -> list[dict[str, Any]]:
        """The complete lines of metrics.jsonl."""
        return self._lines_from(0)

    def lines_of_start(self, event: str) -> list[dict[str, Any]]:
        """Those of the last start, about `event`."""
        return [line for line in self._lines_from(self._metrics_from) if line["event"] == event]

    def _lines_from(self, place: int) -> list[dict[str, Any]]:
        path = self.directory / "metrics.jsonl"
        whole = path.read_bytes()[place:].rpartition(b"\n")[0] if path.exists() else b""
        return [found for line in whole.splitlines() if (found := _parse(line))]

    def position(self) -> int:
        """The last step of this start, 0 before its first."""
        path = self.directory / "metrics.jsonl"
        if not path.exists():
            return 0
        with path.open("rb") as file:
            file.seek(max(self._metrics_from, path.stat().st_size - 4096))
            end = file.read().rpartition(b"\n")[0].splitlines()
        steps = [line["step"] for line in map(_parse, end) if line.get("event") == "train"]
        return steps[-1] if steps else 0

    def last_step(self) -> int:
        return max((line["step"] for line in self.lines() if line["event"] == "train"), default=0)

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """AssertionError if it takes too long, or if torchrun ends before."""
        limit = time.monotonic() + LIMIT
        while not condition():
            assert self.process is not None
            assert self.process.poll() is None, f"ended before {what}: {self.log[-2000:]}"
            assert time.monotonic() < limit, f"no {what} within {LIMIT} s: {self.log[-2000:]}"
            time.sleep(0.01)

    def at_some_step(self) -> subprocess.Popen[str]:
        """The torchrun that trains, when it has done a step in the window; the recovery is measured from here."""
        process = self.going()
        step = self.random.randint(*self.window)
        self.wait_until(lambda: self.position() >= step, f"step {step}")
        self.struck()
        return process

    def struck(self) -> None:
        """The fault strikes now: measure the recovery, beside everything else."""
        threading.Thread(target=self._measure, args=(self.fault, self.last_step()), daemon=True).start()

    def _measure(self, fault: str, known: int) -> None:
        begin = time.monotonic()
        while time.monotonic() < begin + LIMIT:
            # One step may still have been under way.
            if self.position() > known + 2:
                self.recoveries[fault] = time.monotonic() - begin
                return
            time.sleep(0.05)

    @property
    def recovered(self) -> bool:
        return self.fault in self.recoveries


def _parse(line: bytes) -> dict[str, Any]:
    """{} for the torn beginning of what was read."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The trainers of a torchrun, by rank; waits until they are there, since torchrun may be starting them again."""
    limit = time.monotonic() + LIMIT
    while time.monotonic() < limit:
        try:
            children = psutil.Process(process.pid).children()
            if children and all("RANK" in child.environ() for child in children):
                return sorted(children, key=lambda child: int(child.environ()["RANK"]))
        except psutil.NoSuchProcess:
            assert process.poll() is None, "torchrun has ended"
        time.sleep(0.02)
    raise AssertionError("torchrun has no trainers")


def wait_until_gone(processes: list[psutil.Process]) -> None:
    """Until they have ended, seen or not by the torchrun that started them."""
    limit = time.monotonic() + 60
    while alive := [process for process in processes if _is_alive(process)]:
        assert time.monotonic() < limit, f"orphans: {alive}"
        time.sleep(0.05)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
