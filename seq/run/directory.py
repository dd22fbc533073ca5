"""The directory of a run: what is in it, and whether this config may continue it."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from seq.config import Config
from seq.config.identity import differing_keys, flatten
from seq.config.read import dump_config, load_config
from seq.errors import UserError
from seq.files import disk_errors_as_run_errors, read_text, refuse_links, sync, write_atomically
from seq.run.checkpoints import Checkpoints
from seq.run.json_lines import last_lines, read_lines

MOST_NAMES = 12
"""Runs to name in a message."""
LOCK_SECONDS = 15
"""A run that was just stopped may hold the lock this long, while it saves."""


class RunDirectory:
    """`<run.output_dir>/<run.name>/`. Every rank may read it; only rank 0 writes."""

    def __init__(self, path: Path, *, fresh: bool = False, copies: Path | None = None) -> None:
        self.path, self.fresh, self.copies = path, fresh, copies
        self.config_file, self.result_file = path / "config.yaml", path / "result.json"
        self.bad_steps, self.initial = path / "bad_steps", path / "initial"
        self.checkpoints = Checkpoints(path, copies, fresh=fresh)

    @classmethod
    def of(cls, config: Config, *, fresh: bool = False) -> "RunDirectory":
        """`fresh`: ignore what is in it, and set it aside when the run begins."""
        copies = Path(config.checkpoint.copy_to).expanduser() / config.run.name if config.checkpoint.copy_to else None
        return cls(Path(config.run.output_dir).expanduser() / config.run.name, fresh=fresh, copies=copies)

    def require(self) -> None:
        """Raise UserError unless the directory holds a run. The message names the most similar run, or the existing ones."""
        if not self.config_file.is_file():
            raise UserError(f"{self.path}: no run (no config.yaml){runs_beside(self.path)}")

    def check(self, config: Config) -> None:
        """UserError unless the directory is empty, or holds a run with the same identity, and can be written."""
        _check_writable(self.path, "run.output_dir")
        if self.copies is not None:
            _check_writable(self.copies, "checkpoint.copy_to")
            if self.copies.resolve() == self.path.resolve():
                raise UserError(f"checkpoint.copy_to: {self.copies} is the run itself; choose a folder on another disk")
        if self.fresh:
            return
        refuse_links(self.path)
        if not self.path.exists() or not any(_counts(entry) for entry in self.path.iterdir()):
            return
        if not self.config_file.is_file():
            raise UserError(f"{self.path}: holds files, but no run (no config.yaml); choose another run.name")
        existing_config = load_config(self.config_file)
        if differing := differing_keys(config, existing_config):
            there, here = flatten(existing_config), flatten(config)
            lines = [
                f"  {key}: the code has changed; that of the run is in its config.yaml"
                if key.startswith("run.code.")
                else f"  {key}: {there.get(key)!r} there, {here[key]!r} here"
                for key in differing
            ]
            raise UserError(
                f"{self.path}: holds a run with another config; choose another run.name, or start over with --fresh "
                "(the old run is kept beside it)\n" + "\n".join(lines)
            )

    @contextmanager
    def locked_by(self, is_main: bool) -> Iterator[None]:
        """Rank 0 holds the directory's lock; the system releases it however the process ends. UserError if another run
        holds it, because two runs would write into the same files."""
        if not is_main:
            yield
            return
        lock = FileLock(self.path.with_name(f".{self.path.name}.lock"))
        owner = self.path.with_name(f".{self.path.name}.owner")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            raise UserError(
                f"{self.path}: another process is running there{_describe_owner(owner)}; wait until it has ended, or choose another "
                "run.name"
            ) from None
        except OSError as error:
            raise UserError(
                f"{self.path}: cannot be written ({error.strerror}); choose another run.output_dir"
            ) from None
        with suppress(OSError):  # on a full disk, the run can still start
            write_atomically(owner, f"process {os.getpid()} on {socket.gethostname()}")
        try:
            yield
        finally:
            owner.unlink(missing_ok=True)
            lock.release()

    def begin(self, config: Config, resumed_from: Path | None) -> None:
        """Make the directory and write the resolved config; a `fresh` run first renames an older one."""
        self.checkpoints.set_aside_damaged(resumed_from)
        for folder in (self.path, self.copies):
            if self.fresh and folder is not None and folder.exists():
                folder.rename(_unused(folder))
        with disk_errors_as_run_errors(self.path):
            self.checkpoints.folder.mkdir(parents=True, exist_ok=True)
            sync(self.path.parent)
            self.checkpoints.bring_back()
            write_atomically(self.config_file, dump_config(config))
            self.result_file.unlink(missing_ok=True)  # of a start that was preempted

    def wall_seconds(self) -> float:
        """How long earlier starts lasted, according to the end of `metrics.jsonl`."""
        seen = (line.get("wall_seconds") for line in last_lines(self.path / "metrics.jsonl"))
        return 0.0 if self.fresh else max((seconds for seconds in seen if isinstance(seconds, float)), default=0.0)

    def corruptions(self) -> list[dict[str, Any]]:
        """The devices that computed wrongly in this run (`sync.witness_every`), with the steps."""
        every = read_lines(self.path / "metrics.jsonl", most=1)  # lines about steps are not needed
        lines = (line for line in every if line.pop("event", None) == "corruption")
        return [{name: line[name] for name in line if name != "wall_seconds"} for line in lines]

    def read_result(self) -> dict[str, Any] | None:
        """`result.json`, if the run has ended."""
        if self.fresh or not self.result_file.exists():
            return None
        try:
            result: dict[str, Any] = json.loads(read_text(self.result_file))
            result["status"], result["eval"], result["step"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            raise UserError(f"{self.result_file}: damaged; delete it, and the next start writes it again") from None
        return result

    def write_result(self, result: dict[str, Any]) -> None:
        with disk_errors_as_run_errors(self.result_file):
            write_atomically(self.result_file, json.dumps(result, indent=1))


def _describe_owner(file: Path) -> str:
    """Who holds the lock, and for how long."""
    try:
        minutes = (time.time() - file.stat().st_mtime) / 60
        return f", {read_text(file)[:100]}, for {minutes:,.0f} minutes"
    except (OSError, ValueError):
        return ""


def runs_beside(path: Path) -> str:
    """Return advice for a path that is not a run: the run with the most similar name, or the runs beside it."""
    names = sorted(file.parent.name for file in path.parent.glob("*/config.yaml"))
    near = get_close_matches(path.name, names, n=1) or names
    if not near:
        return "; train one first: python train_ddp.py CONFIG"
    found = ", ".join(str(path.parent / name) for name in near[:MOST_NAMES])
    return f"; did you mean {found}?" if len(near) == 1 else f"; there are {found}{', ...' * (len(near) > MOST_NAMES)}"


def _check_writable(folder: Path, key: str) -> None:
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UserError(f"{folder}: {existing} cannot be written; choose another {key}")


def _unused(folder: Path) -> Path:
    """A name for a folder that is set aside."""
    names = (folder.with_name(f"{folder.name}.old-{number}") for number in range(1, 10**6))
    return next(path for path in names if not path.exists())


def _counts(entry: Path) -> bool:
    """Return False for files that a killed start left incomplete, and for a batch script and its log, which exist before the run."""
    return ".part-" not in entry.name and not entry.name.startswith(("job.", "job-"))
