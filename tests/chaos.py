"""Faults on real torchrun runs: python -m tests.chaos [--cases N] [--seed S] [--only NAME]

Each case disturbs a run of two processes, of each kind of model in turn, starts it again as its user (or SLURM, or
torchrun itself) would, and compares the end with the run that nobody disturbed: the same `params_sha256`, every step once in `metrics.jsonl`
(a step done twice says the same twice, after a `resume`), and every step once in W&B. One line a case.
"""

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.helpers import ROOT
from tests.runs import few_rows, result, words
from tests.wandb_file import wandb_history

STEPS, SAVE_EVERY = 180, 30
SETTINGS = (
    *("batch.tokens=128", "batch.shards=4", f"train.steps={STEPS}", "optimizer.warmup_steps=10"),
    *("model.hidden_size=16", "model.num_layers=2", "model.dropout=0.2", "logging.every_steps=1"),
    *("evaluation.every_steps=60", f"checkpoint.every_steps={SAVE_EVERY}", "checkpoint.keep=2"),
    *("checkpoint.best=null", "logging.wandb=offline", "logging.report=true"),
)
KINDS: dict[str, tuple[str, ...]] = {
    "names": (),
    "speeches": ("data.unit=document", "batch.order=stream", "batch.rows=3", "batch.window=20"),
    "tagger": ("model.ngram_buckets=64",),
    "transducer": ("train.teacher_forcing_end=0.5",),
}


@dataclass
class Kind:
    """A run's command line, and the result of the run that nobody disturbed."""

    words: list[str]
    reference: dict[str, Any]


@dataclass
class Run:
    """One run directory, and what is done to it."""

    name: str
    folder: Path
    random: random.Random
    words: list[str]
    recovery: str = ""
    """How long after the first fault the run did a step that it had not done before."""

    @property
    def directory(self) -> Path:
        return self.folder / self.name

    def start(
        self,
        *more: str,
        size: int = 2,
        restarts: int = 0,
        fault: tuple[str, ...] = (),
        launcher: Sequence[str] = ("--standalone",),
    ) -> subprocess.Popen[str]:
        """`fault`: one of `tests.faults`, with its argument."""
        trainer = ["-m", "tests.faults", *fault] if fault else [str(ROOT / "train_ddp.py")]
        command = ["torchrun", *launcher, f"--nproc_per_node={size}", f"--max-restarts={restarts}", *trainer]
        words = [*self.words, f"run.output_dir={self.folder}", f"run.name={self.name}"]
        bin_first = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        log = (self.folder / f"{self.name}.log").open("a")
        env = os.environ | {"PATH": bin_first, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [*command, *words, *more],
            cwd=ROOT,
            env=env,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self, *more: str, size: int = 2) -> None:
        """Start it (again), and let it end by itself."""
        process = self.start(*more, size=size)
        assert process.wait(120) == 0, f"the last start failed, see {self.log}"

    @property
    def log(self) -> str:
        return (self.folder / f"{self.name}.log").read_text()

    def lines(self) -> list[dict[str, Any]]:
        path = self.directory / "metrics.jsonl"
        whole = path.read_bytes().rpartition(b"\n")[0] if path.exists() else b""
        return [json.loads(line) for line in whole.splitlines() if line]

    def wait_for_step(self, step: int, process: subprocess.Popen[str]) -> None:
        """Until the run has logged `step`."""
        limit = time.monotonic() + 90
        while not any(line["step"] >= step for line in self.lines() if line["event"] == "train"):
            assert time.monotonic() < limit, "the run does not get there"
            assert process.poll() is None, f"ended too early, see {self.log}"
            time.sleep(0.01)

    def struck(self) -> None:
        """Call it with the first fault: measures the recovery, beside everything else."""
        known, begin = self.last_step(), time.monotonic()
        threading.Thread(target=self._measure, args=(known, begin), daemon=True).start()

    def _measure(self, known: int, begin: float) -> None:
        while time.monotonic() < begin + 90:
            # One step may still have been under way.
            if self.last_step() > known + 2:
                self.recovery = f"{time.monotonic() - begin:.1f} s to the next new step"
                return
            time.sleep(0.02)

    def last_step(self) -> int:
        return max((line["step"] for line in self.lines() if line["event"] == "train"), default=0)

    def some_step(self) -> int:
        return self.random.randint(5, STEPS - 60)


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The trainers, by rank."""
    return sorted(psutil.Process(process.pid).children(), key=lambda child: child.environ()["RANK"])


def wait_until_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert not alive, f"orphans: {alive}"


# ---- faults -------------------------------------------------------------------------------------------------------


def worker_killed(run: Run) -> None:
    """kill -9 of a random worker; torchrun restarts in place."""
    process = run.start(restarts=3)
    run.wait_for_step(run.some_step(), process)
    run.struck()
    run.random.choice(workers(process)).kill()
    assert process.wait(120) == 0, run.log[-2000:]


def worker_killed_twice(run: Run) -> None:
    """The same, once more after the restart."""
    process = run.start(restarts=3)
    for step in (30, 110):
        run.wait_for_step(step + run.random.randint(0, 40), process)
        run.random.choice(workers(process)).kill()
        time.sleep(3)
    assert process.wait(120) == 0, run.log[-2000:]


def killed_while_starting(run: Run) -> None:
    """kill -9 of a worker at a random moment of the start-up."""
    process = run.start(restarts=3)
    time.sleep(run.random.uniform(2.5, 5.5))
    run.random.choice(workers(process)).kill()
    assert process.wait(120) == 0, run.log[-2000:]


def torchrun_killed(run: Run) -> None:
    """kill -9 of torchrun; its workers notice, save and end; started again by hand."""
    process = run.start()
    run.wait_for_step(run.some_step(), process)
    orphans = workers(process)
    process.kill()
    process.wait()
    wait_until_gone(orphans)
    run.struck()
    run.finish()


def all_killed(run: Run) -> None:
    """kill -9 of everything at once, as a node that loses power; then another number of processes."""
    process = run.start()
    run.wait_for_step(run.some_step(), process)
    run.struck()
    for victim in [psutil.Process(process.pid), *workers(process)]:
        victim.kill()
    process.wait()
    run.finish(size=run.random.choice([1, 3, 4]))


def terminated(run: Run) -> None:
    """SIGTERM to torchrun, as from SLURM; checkpoint, exit, started again on another number of processes."""
    process = run.start()
    run.wait_for_step(run.some_step(), process)
    run.struck()
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    assert result(run.directory)["status"] == "preempted"
    run.finish(size=run.random.choice([1, 2, 3, 4]))


def interrupted_twice(run: Run) -> None:
    """SIGINT, and again at once, to all processes, as Ctrl-C does."""
    process = run.start()
    run.wait_for_step(run.some_step(), process)
    everyone = [psutil.Process(process.pid), *workers(process)]
    for _ in range(2):
        for one in everyone:
            if one.is_running():
                one.send_signal(signal.SIGINT)
        time.sleep(0.05)
    process.wait(60)
    assert result(run.directory)["status"] == "preempted"
    run.finish()


def one_worker_warned(run: Run) -> None:
    """SIGUSR1 or SIGUSR2 to one worker alone: all ranks stop, torchrun ends with 0."""
    process = run.start()
    run.wait_for_step(run.some_step(), process)
    run.struck()
    run.random.choice(workers(process)).send_signal(run.random.choice([signal.SIGUSR1, signal.SIGUSR2]))
    assert process.wait(60) == 0, run.log[-2000:]
    run.finish()


def worker_stopped(run: Run) -> None:
    """SIGSTOP of a worker: the others end the run within its time limit, name the rank, and leave no process."""
    process = run.start("run.timeout_seconds=8")
    run.wait_for_step(run.some_step(), process)
    family, rank = workers(process), run.random.randint(0, 1)
    run.struck()
    family[rank].suspend()
    begin = time.monotonic()
    assert process.wait(60) == 1
    assert time.monotonic() - begin < 12
    assert f"rank {rank} (pid {family[rank].pid}" in run.log, run.log[-2000:]
    wait_until_gone(family)
    run.finish()


def killed_inside_a_save(run: Run) -> None:
    """kill -9 between the writing of a checkpoint and its renaming, or around it."""
    where = run.random.choice(["verify:1", "verify:2", "fsync:2", "fsync:4"])
    process = run.start(fault=("die_in_save", where))
    assert process.wait(60) == 1
    assert max(line["step"] for line in run.lines()) >= SAVE_EVERY
    assert not (run.directory / "result.json").exists()
    run.finish()


def _newest(run: Run) -> Path:
    return sorted((run.directory / "checkpoints").glob("step-????????.pt"))[-1]


def _kill_all_late(run: Run) -> None:
    process = run.start()
    run.wait_for_step(run.random.randint(2 * SAVE_EVERY + 5, STEPS - 60), process)
    for victim in [psutil.Process(process.pid), *workers(process)]:
        victim.kill()
    process.wait()


def checkpoint_truncated(run: Run) -> None:
    """The newest checkpoint has lost its end: the one before it is used."""
    _kill_all_late(run)
    path = _newest(run)
    with path.open("r+b") as file:
        file.truncate(run.random.randrange(path.stat().st_size))
    run.finish()
    assert "is damaged, and set aside" in run.log


def checkpoint_flipped(run: Run) -> None:
    """Bits of the newest checkpoint have flipped: found, or in bytes that mean nothing."""
    _kill_all_late(run)
    path = _newest(run)
    content = bytearray(path.read_bytes())
    for _ in range(run.random.choice([1, 1, 3])):
        content[run.random.randrange(len(content))] ^= 1 << run.random.randrange(8)
    path.write_bytes(content)
    run.finish()


def disk_full(run: Run) -> None:
    """For a while no file may grow beyond 5 kB, neither checkpoints nor metrics: the run goes on, nothing is lost."""
    begin = run.random.choice([1, 2, 3])
    process = run.start(fault=("little_space", f"{begin * SAVE_EVERY}:{(begin + 2) * SAVE_EVERY}"))
    assert process.wait(90) == 0, run.log[-2000:]
    failed = [line["error"] for line in run.lines() if line["event"] == "checkpoint_failed"]
    assert [error.rpartition(": ")[2] for error in failed] == ["File too large"] * 2, run.log[-2000:]


def tmpfs_full(run: Run) -> None:
    """The run's own small file system is full for a while (needs root)."""
    run.directory.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", run.directory], check=False)
    if mounted.returncode:
        return run.finish()
    try:
        process = run.start()
        run.wait_for_step(run.random.randint(5, 2 * SAVE_EVERY), process)
        filler = run.directory / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(b"0" * 4096):
                    pass
            except OSError:
                pass
        while "could not be saved: No space left" not in run.log:
            assert process.poll() is None, run.log[-2000:]
            time.sleep(0.02)
        filler.unlink()
        assert process.wait(90) == 0, run.log[-2000:]
        shutil.copytree(run.directory, run.folder / "copy", symlinks=True)
    finally:
        subprocess.run(["umount", "-l", run.directory], check=True)
    run.directory.rmdir()
    (run.folder / "copy").rename(run.directory)


def started_twice(run: Run) -> None:
    """A second start in the same run directory is refused, and disturbs nothing."""
    process = run.start()
    run.wait_for_step(5, process)
    family = [psutil.Process(process.pid), *workers(process)]
    for one in family:
        one.suspend()  # so that it has not ended by itself before the second start is refused
    assert run.start(size=1).wait(60) == 1
    assert "another process is running there" in run.log
    for one in family:
        one.resume()
    assert process.wait(90) == 0, run.log[-2000:]


def node_lost(run: Run) -> None:
    """Two torchrun agents, `--nnodes=1:2`; one is killed with its worker, and the other goes on alone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-conf=last_call_timeout=8"]
    launcher = ["--nnodes=1:2", "--rdzv-id=chaos", "--local-addr=127.0.0.1", *where]
    first = run.start(size=1, restarts=3, launcher=launcher)
    while socket.socket().connect_ex(("127.0.0.1", port)):
        time.sleep(0.1)  # the agent that comes first keeps the store, and must not be the one that is lost
    second = run.start(size=1, restarts=3, launcher=launcher)
    run.wait_for_step(run.some_step(), first)
    run.struck()
    for victim in [psutil.Process(second.pid), *psutil.Process(second.pid).children()]:
        victim.kill()
    second.wait()
    assert first.wait(120) == 0, run.log[-2000:]
    assert [line["world_size"] for line in run.lines() if line["event"] in ("start", "resume")] == [2, 1]


def size_changed_often(run: Run) -> None:
    """Stopped three times, each time going on with another number of processes."""
    for size in run.random.sample([1, 2, 3, 4], 3):
        seen = max([line["step"] for line in run.lines()], default=0)
        process = run.start(size=size)
        run.wait_for_step(min(STEPS - 40, seen + run.random.randint(20, 60)), process)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    run.finish()


PLACES = {
    "starting": "train_ddp.open_logger",
    "resuming": "seq.run.directory.load_for_resume",
    "evaluating": "train_ddp.evaluate",
    "exporting": "seq.inference.model_files.write_model",
    "reporting": "seq.report.write_report",
    "recording": "seq.run.directory.RunDirectory.write_result",
}
"""What a process is doing when it is killed, and the function that does it."""


def killed_at_a_bad_time(run: Run) -> None:
    """kill -9 while a process starts, evaluates, exports, writes the report or the result; then again while it resumes."""
    for place in (run.random.choice([name for name in PLACES if name != "resuming"]), "resuming"):
        if (run.directory / "result.json").exists():
            break  # it had finished; only its report is missing
        assert run.start(fault=("die_in", PLACES[place])).wait(120) == 1, run.log[-2000:]
    run.finish(size=run.random.choice([1, 2, 3]))


def checkpoints_deleted(run: Run) -> None:
    """Somebody has deleted the folder of checkpoints: the run begins anew."""
    _kill_all_late(run)
    shutil.rmtree(run.directory / "checkpoints")
    run.finish()


def config_edited(run: Run) -> None:
    """`config.yaml` of the run is edited between two starts: refused, and goes on when the edit is taken back."""
    _kill_all_late(run)
    file = run.directory / "config.yaml"
    before = file.read_text()
    file.write_text(before.replace("seed: 1", "seed: 7"))
    assert run.start(size=1).wait(60) == 1
    assert "run.seed: 7 there, 1 here" in run.log
    file.write_text(before)
    run.finish()


def corpus_damaged(run: Run) -> None:
    """A bit of the prepared data flips while a run reads them; a later start notices, and prepares them again."""
    own = f"data.cache_dir={run.folder / 'cache'}"
    process = run.start(own)
    run.wait_for_step(run.some_step(), process)
    path = max((run.folder / "cache").glob("*/*"), key=lambda file: file.stat().st_size)
    content = bytearray(path.read_bytes())
    content[run.random.randrange(len(content))] ^= 1 << run.random.randrange(8)
    path.write_bytes(content)
    for victim in [psutil.Process(process.pid), *workers(process)]:
        victim.kill()
    process.wait()
    run.finish(own)


def wandb_killed(run: Run) -> None:
    """kill -9 of W&B's service: the run goes on, and the history is written again at the end."""
    process = run.start()
    run.wait_for_step(run.some_step(), process)
    services = [child for one in workers(process) for child in one.children(recursive=True) if "wandb" in child.name()]
    assert services, "W&B has no process of its own"
    for service in services:
        service.kill()
    assert process.wait(120) == 0, run.log[-2000:]


def descriptors_run_out(run: Run) -> None:
    """For a while a process has no file descriptor left when it saves: reported, and the run goes on."""
    begin = run.random.choice([1, 2, 3])
    process = run.start(fault=("no_descriptors", f"{begin * SAVE_EVERY}:{(begin + 2) * SAVE_EVERY}"))
    assert process.wait(90) == 0, run.log[-2000:]
    failed = [line["error"] for line in run.lines() if line["event"] == "checkpoint_failed"]
    assert [error.rpartition(": ")[2] for error in failed] == ["Too many open files"] * 2, run.log[-2000:]


def disk_is_slow(run: Run) -> None:
    """Each checkpoint takes five seconds, and the run is stopped in the middle of one."""
    process = run.start(fault=("slow_disk", "5"))
    run.wait_for_step(run.some_step(), process)
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    assert result(run.directory)["status"] == "preempted"
    run.finish()


def clock_goes_back(run: Run) -> None:
    """The machine's clock goes back by an hour, every few seconds."""
    process = run.start(fault=("clock_back", "4"))
    assert process.wait(120) == 0, run.log[-2000:]


FAULTS: list[Callable[[Run], None]] = [
    *(worker_killed, terminated, checkpoint_flipped, disk_full, worker_stopped),  # these five are part of the tests
    *(torchrun_killed, all_killed, interrupted_twice, one_worker_warned, killed_inside_a_save, checkpoint_truncated),
    *(worker_killed_twice, killed_while_starting, node_lost, size_changed_often, started_twice, tmpfs_full),
    *(killed_at_a_bad_time, checkpoints_deleted, config_edited, corpus_damaged, wandb_killed, descriptors_run_out),
    *(disk_is_slow, clock_goes_back),
]


# ---- the comparison -----------------------------------------------------------------------------------------------


def check(run: Run, reference: dict[str, Any]) -> None:
    """AssertionError unless the run ended as if nothing had happened."""
    found = result(run.directory)
    assert (found["status"], found["step"]) == ("finished", STEPS)
    for key in ("params_sha256", "eval", "tokens_seen", "examples_seen"):
        assert found[key] == reference[key], key
    assert abs(sum(found["ledger"].values()) - found["wall_seconds"]) < 0.02 * found["wall_seconds"]
    by_step: dict[int, list[float]] = {}
    last, rewound = 0, True
    for line in run.lines():
        rewound |= line["event"] == "resume"
        if line["event"] == "train":
            assert line["step"] == last + 1 or (rewound and line["step"] <= last + 1), "a step out of order"
            by_step.setdefault(line["step"], []).append(line["loss"])
            last, rewound = line["step"], False
    assert sorted(by_step) == list(range(1, STEPS + 1)), "steps missing in metrics.jsonl"
    assert all(len(set(losses)) == 1 for losses in by_step.values()), "a step done twice differs"
    steps = [row["step"] for row in wandb_history(run.directory) if "train/loss" in row]
    assert steps == list(range(1, STEPS + 1)), "W&B does not have each step once"


def prepare(folder: Path, kind: str) -> Kind:
    """The data, and the run that nobody disturbs."""
    home = folder / kind
    home.mkdir()
    rows = few_rows(home) if kind == "names" else []
    run = Run("reference", home, random.Random(0), words(home, kind, *rows, *SETTINGS, *KINDS[kind]))
    run.finish()
    found: dict[str, Any] = result(run.directory)
    check(run, found)
    return Kind(run.words, found)


def disturb(number: int, fault: Callable[[Run], None], seed: int, folder: Path, kind: Kind) -> str:
    """Run one case; AssertionError if the run does not survive it. Returns its seconds, in words."""
    home = folder / f"case-{number}"
    home.mkdir()
    begin = time.monotonic()
    run = Run("run", home, random.Random(f"{seed}/{number}"), kind.words)
    fault(run)
    check(run, kind.reference)
    return f"{time.monotonic() - begin:3.0f} s  {run.recovery}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="the name of one fault")
    options = parser.parse_args()
    chosen = [fault for fault in FAULTS if options.only in (None, fault.__name__)]
    folder = Path(tempfile.mkdtemp(prefix="lockstep-chaos-"))
    kinds: dict[str, Kind] = {}
    for name in KINDS:
        begin = time.monotonic()
        kinds[name] = prepare(folder, name)
        digest = kinds[name].reference["params_sha256"][:16]
        print(f"reference of {name}: {digest}, {time.monotonic() - begin:.0f} s undisturbed", flush=True)
    failures = 0
    begin = time.monotonic()
    cases = zip(range(options.cases), itertools.cycle(chosen), itertools.cycle(kinds), strict=False)
    for number, fault, name in cases:
        try:
            outcome = f"survived, {disturb(number, fault, options.seed, folder, kinds[name])}"
        except AssertionError as error:
            failures += 1
            outcome = f"FAILED: {str(error)[:200]} ({folder / f'case-{number}'})"
        left = (time.monotonic() - begin) / (number + 1) * (options.cases - number - 1) / 60
        print(f"{number:>3} {name:<10} {fault.__name__:<24} {outcome}  {left:.0f} min left", flush=True)
    print(f"{options.cases - failures} of {options.cases} faults survived")
    if not failures:
        shutil.rmtree(folder)
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main())
