"""The run directory: what is in it already, and whether this config may go on with it."""

import json
import os
from pathlib import Path
from typing import Any

from seq.config import Config
from seq.config_file import dump_config, load_config
from seq.errors import UserError
from seq.identity import identity
from seq.training.checkpoint import checkpoints_in


class RunDirectory:
    """`<run.output_dir>/<run.name>/`. Reading it is free for every rank; only rank 0 may call what writes."""

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self.path, self.fresh = path, fresh
        self.config_file = path / "config.yaml"
        self.result_file = path / "result.json"
        self.checkpoints = path / "checkpoints"

    @classmethod
    def of(cls, config: Config, *, fresh: bool = False) -> "RunDirectory":
        """`fresh`: what is in it counts as nothing, and is set aside when the run begins."""
        return cls(Path(config.run.output_dir).expanduser() / config.run.name, fresh=fresh)

    def check(self, config: Config) -> None:
        """UserError unless the directory is empty, or holds a run with the same identity, and can be written."""
        existing = next(path for path in (self.path, *self.path.absolute().parents) if path.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK):
            raise UserError(f"{self.path}: {existing} cannot be written; choose another run.output_dir")
        if self.fresh or not self.path.exists() or not any(".part-" not in entry.name for entry in self.path.iterdir()):
            return
        if not self.config_file.is_file():
            raise UserError(f"{self.path}: holds files, but no run (no config.yaml); choose another run.name")
        before, now = identity(load_config(self.config_file)), identity(config)
        differing = [key for key in now if now[key] != before.get(key)]
        if differing:
            lines = [f"  {key}: {before.get(key)!r} there, {now[key]!r} here" for key in differing]
            raise UserError(
                f"{self.path}: holds a run with another config; choose another run.name, or start over with --fresh "
                "(the old run is kept beside it)\n" + "\n".join(lines)
            )

    def begin(self, config: Config) -> None:
        """Make the directory and write the resolved config; a `fresh` run first renames an older one."""
        if self.fresh and self.path.exists():
            numbers = (self.path.with_name(f"{self.path.name}.old-{number}") for number in range(1, 10**6))
            self.path.rename(next(path for path in numbers if not path.exists()))
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomically(self.config_file, dump_config(config))
        self.checkpoints.mkdir(exist_ok=True)

    def newest_checkpoint(self) -> Path | None:
        """None where there is none to go on from."""
        found = checkpoints_in(self.checkpoints)
        return found[-1] if found and not self.fresh else None

    def checkpoint_at(self, step: int) -> Path:
        return self.checkpoints / f"step-{step:08d}.pt"

    def read_result(self) -> dict[str, Any] | None:
        """`result.json`, if the run has ended."""
        if self.fresh or not self.result_file.exists():
            return None
        try:
            result: dict[str, Any] = json.loads(self.result_file.read_text("utf-8"))
            result["status"], result["eval"], result["step"]
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{self.result_file}: damaged; delete it, and the next start writes it anew") from None
        return result

    def write_result(self, result: dict[str, Any]) -> None:
        write_atomically(self.result_file, json.dumps(result, indent=1))


def write_atomically(path: Path, text: str) -> None:
    """The whole text or the old file, whatever happens meanwhile."""
    temporary = path.with_name(f"{path.name}.part-{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
