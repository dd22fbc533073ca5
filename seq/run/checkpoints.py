"""The checkpoints of a run: their names, which are kept, their copies on another disk, and how they are saved.

They are saved in the background, and a save that fails does not end the run.
"""

import io
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch.distributed as dist

from seq.config import CheckpointConfig, Config
from seq.data.corpus import Corpus
from seq.errors import RunError, warn
from seq.files import append_what_is_new, atomic_write, sync
from seq.run.checkpoint import Checkpoint, load_checkpoint, load_for_resume, serialize, write_checkpoint
from seq.training.selection import Selection

RECORDS = ("metrics.jsonl", "samples.jsonl", "digests.jsonl", "wandb-id")
"""Files of a run to which lines are only appended."""


class Checkpoints:
    """The files `checkpoints/step-XXXXXXXX.pt` of a run directory, and `best.pt` beside them. The folder `copies` has copies of the
    newest of them and of the RECORDS; None: no copies. `fresh`: earlier checkpoints are ignored."""

    def __init__(self, run: Path, copies: Path | None = None, *, fresh: bool = False) -> None:
        self.run, self.copies, self.fresh = run, copies, fresh
        self.folder, self.best = run / "checkpoints", run / "checkpoints" / "best.pt"

    def at(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}.pt"

    def newest_first(self) -> list[Path]:
        """All checkpoints, including copies. If a step has both, the run's own comes before the copy."""
        copied = checkpoints_in(self.copies) if self.copies else []
        found = [] if self.fresh else [*copied, *checkpoints_in(self.folder)]
        return sorted(found, key=lambda path: path.name)[::-1]

    def newest(self, config: Config, corpus: Corpus, before: int | None = None) -> Checkpoint | None:
        """The newest one that is not damaged, of a step below `before` if given; None if there is none. UserError as `load_for_resume`."""
        paths = [path for path in self.newest_first() if before is None or path.name < self.at(before).name]
        return load_for_resume(paths, config, corpus)

    def set_aside_damaged(self, resumed_from: Path | None) -> None:
        """Rename the checkpoints that come before the one that could be read. They keep their bytes."""
        for path in self.newest_first():
            if path == resumed_from:
                break
            if resumed_from is not None:
                path.rename(path.with_name(f"{path.name}.damaged"))
                warn(f"{path} is damaged, and set aside; going on from {resumed_from.name}")

    def bring_back(self) -> None:
        """Restore files that the run directory has lost from the copies."""
        for path in [*(self.run / name for name in RECORDS), self.best]:
            if self.copies and not path.exists() and (copy := self.copies / path.name).exists():
                with atomic_write(path) as temporary:
                    shutil.copyfile(copy, temporary)
                warn(f"{path} was lost, and is brought back from {self.copies}; --fresh would start over")

    def write(self, path: Path, content: io.BytesIO, keep: int) -> Path:
        """Flush the run's logs, so that they cover the checkpoint's steps; then write it, and delete all but the newest `keep`.
        The copy is written even if `path` cannot be."""
        try:
            self._sync_records()
            write_checkpoint(path, content)
            delete_old(path.parent, keep)
        finally:
            if self.copies:
                with _naming(self.copies):
                    write_checkpoint(self.copies / path.name, content)
                    delete_old(self.copies, keep)
                    self._copy_records(self.copies)
        return path

    def _sync_records(self) -> None:
        for path in (self.run / name for name in RECORDS):
            if path.exists():
                sync(path)
                sync(path.parent)

    def _copy_records(self, copies: Path) -> None:
        for name in RECORDS:
            if (self.run / name).exists():
                append_what_is_new(self.run / name, copies / name)


def checkpoints_in(folder: Path) -> list[Path]:
    """Files `step-XXXXXXXX.pt`, the oldest first."""
    return sorted(folder.glob("step-" + "[0-9]" * 8 + ".pt"))


def delete_old(folder: Path, keep: int) -> None:
    """Delete all but the newest `keep`, and what a killed save left behind."""
    for path in [*checkpoints_in(folder)[:-keep], *folder.glob("*.part-*")]:
        path.unlink(missing_ok=True)


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Add to an error message that it is about the copies."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"no copy in {folder}: {error.strerror or error}") from None


class CheckpointSaver:
    """Saves on rank 0, and does nothing on other ranks. `save` copies the state at once; a thread writes it, one checkpoint
    at a time. A failed save is logged, and the run goes on with the last good checkpoint, or ends if `checkpoint.required`.

    `log`: called as `log(event, step, **values)`.
    """

    def __init__(
        self, checkpoints: Checkpoints, config: CheckpointConfig, log: Callable[..., None], is_main: bool
    ) -> None:
        self._checkpoints, self._config, self._log, self._is_main = checkpoints, config, log, is_main
        self._thread = ThreadPoolExecutor(1)
        self._writing: tuple[int, Future[Path]] | None = None

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Waits for the save before this one, and for the disk only if `checkpoint.background` is off."""
        self._save(step, self._checkpoints.at(step), state)

    def save_best(self, step: int, state: dict[str, Any]) -> None:
        """The weights of the best evaluation so far, in the place of earlier ones."""
        self._save(step, self._checkpoints.best, state)

    def _save(self, step: int, path: Path, state: dict[str, Any]) -> None:
        if not self._is_main:
            return
        self.poll(wait=True)
        content = serialize(state)
        self._writing = (step, self._thread.submit(self._checkpoints.write, path, content, self._config.keep))
        self.poll(wait=not self._config.background)

    def poll(self, *, wait: bool = False) -> None:
        """Log the save in progress if it has ended; with `wait`, wait for its end first."""
        if self._writing is None or not (wait or self._writing[1].done()):
            return
        (step, future), self._writing = self._writing, None
        try:
            self._log("checkpoint", step, file=future.result().name)
        except OSError as error:
            message = f"checkpoint of step {step} could not be saved: {error.strerror or error}"
            self._log("checkpoint_failed", step, error=message)
            if self._config.required:
                raise RunError(f"{message} (checkpoint.required)") from None
            warn(f"{message}; the run goes on")

    def close(self) -> None:
        self.poll(wait=True)
        self._thread.shutdown()

    def use_best(self, selection: Selection) -> None:
        """End with the weights of the best evaluation. Called by every rank, after `close`. RunError if they are not on the disk."""
        if not selection.best_step:
            return
        dist.barrier()  # rank 0 has written the file
        best = load_checkpoint(self._checkpoints.best)
        if best["progress"]["step"] != selection.best_step:
            raise RunError(
                f"{self._checkpoints.best}: has not the best weights, of step {selection.best_step}; make room on the disk, and "
                "start the same command again to go on"
            )
        selection.use(best["model"])
