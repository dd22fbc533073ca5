"""Saving checkpoints: in the background, only the newest few, and without ending the run if a save fails."""

import io
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch.distributed as dist

from seq.config import CheckpointConfig
from seq.errors import RunError, warn
from seq.run.checkpoint import delete_old, load_checkpoint, serialize, write_checkpoint
from seq.run.directory import RunDirectory
from seq.training.selection import Selection


class CheckpointSaver:
    """Saves on rank 0, and does nothing on other ranks. `save` copies the state at once; a thread writes it, one checkpoint
    at a time. A failed save is logged, and the run goes on with the last good checkpoint, or ends if `checkpoint.required`.

    `log`: called as `log(event, step, **values)`.
    """

    def __init__(
        self, directory: RunDirectory, config: CheckpointConfig, log: Callable[..., None], is_main: bool
    ) -> None:
        self._directory, self._config, self._log, self._is_main = directory, config, log, is_main
        self._thread = ThreadPoolExecutor(1)
        self._writing: tuple[int, Future[Path]] | None = None

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Waits for the save before this one, and for the disk only if `checkpoint.background` is off."""
        self._save(step, self._directory.checkpoint_at(step), state)

    def save_best(self, step: int, state: dict[str, Any]) -> None:
        """The weights of the best evaluation so far, in the place of earlier ones."""
        self._save(step, self._directory.best, state)

    def _save(self, step: int, path: Path, state: dict[str, Any]) -> None:
        if not self._is_main:
            return
        self.poll(wait=True)
        content = serialize(state)
        self._writing = (step, self._thread.submit(self._write, path, content))
        self.poll(wait=not self._config.background)

    def poll(self, *, wait: bool = False) -> None:
        """Log the save that is under way if it has ended; `wait` for its end."""
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
        best = load_checkpoint(self._directory.best)
        if best["progress"]["step"] != selection.best_step:
            raise RunError(
                f"{self._directory.best}: has not the best weights, of step {selection.best_step}; make room on the disk, and start "
                "the same command again to go on"
            )
        selection.use(best["model"])

    def _write(self, path: Path, content: io.BytesIO) -> Path:
        """Flush what the run has logged before a checkpoint says that this was done. The copy is
        written even if `path` cannot be."""
        try:
            self._directory.sync_records()
            self._keep(path, content)
        finally:
            if copy := self._directory.copy_of(path):
                with _naming(copy.parent):
                    self._keep(copy, content)
                    self._directory.copy_records()
        return path

    def _keep(self, path: Path, content: io.BytesIO) -> None:
        write_checkpoint(path, content)
        delete_old(path.parent, self._config.keep)


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Say in an error that it is about the copies."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"no copy in {folder}: {error.strerror or error}") from None
