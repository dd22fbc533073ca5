"""When and where checkpoints are saved: in the background, the newest few, and never at the price of the run."""

import io
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from seq.config import CheckpointConfig
from seq.errors import RunError, warn
from seq.training.checkpoint import delete_old, serialize, write_checkpoint
from seq.training.logger import Logger
from seq.training.run_directory import RunDirectory


class CheckpointSaver:
    """On rank 0; the other ranks' does nothing. `save` takes the state at once; a thread writes it, one checkpoint at a
    time. One that cannot be written is reported, and the run goes on with the last good one, or ends if
    `checkpoint.required`."""

    def __init__(self, directory: RunDirectory, config: CheckpointConfig, logger: Logger, is_main: bool) -> None:
        self._directory, self._config, self._logger, self._is_main = directory, config, logger, is_main
        self._thread = ThreadPoolExecutor(1)
        self._writing: tuple[int, Future[Path]] | None = None

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Waits for the save before this one, then for no disk (unless `checkpoint.background` is off)."""
        if not self._is_main:
            return
        self.report(wait=True)
        content = serialize(state)
        self._writing = (step, self._thread.submit(self._write, step, content))
        self.report(wait=not self._config.background)

    def report(self, *, wait: bool = False) -> None:
        """Log the save that has ended since, if one has."""
        if self._writing is None or not (wait or self._writing[1].done()):
            return
        (step, future), self._writing = self._writing, None
        try:
            self._logger.event("checkpoint", step, file=future.result().name)
        except OSError as error:
            message = f"checkpoint of step {step} could not be saved: {error.strerror or error}"
            self._logger.event("checkpoint_failed", step, error=message)
            if self._config.required:
                raise RunError(f"{message} (checkpoint.required)") from None
            warn(f"{message}; the run goes on")

    def close(self) -> None:
        self.report(wait=True)
        self._thread.shutdown()

    def _write(self, step: int, content: io.BytesIO) -> Path:
        path = self._directory.checkpoint_at(step)
        write_checkpoint(path, content)
        delete_old(path.parent, self._config.keep)
        return path
