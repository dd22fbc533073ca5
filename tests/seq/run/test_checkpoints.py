"""Saving in the background, and saves that fail."""

import errno
from pathlib import Path
from typing import Any

import pytest
import torch

from seq.config import Config
from seq.errors import RunError
from seq.run import checkpoints as saver_module
from seq.run.checkpoints import CheckpointSaver
from seq.run.directory import RunDirectory

Events = list[tuple[str, int]]


def _saver(tmp_path: Path, **settings: Any) -> tuple[CheckpointSaver, Events, RunDirectory]:
    events: Events = []

    def log(event: str, step: int, **_: Any) -> None:
        events.append((event, step))

    directory, config = RunDirectory(tmp_path / "run"), Config().checkpoint.model_copy(update=settings)
    return CheckpointSaver(directory.checkpoints, config, log, is_main=True), events, directory


def test_a_save_takes_the_state_as_it_is(tmp_path: Path) -> None:
    saver, events, directory = _saver(tmp_path, keep=2)
    weights = torch.zeros(1000)
    for step in (1, 2, 3):
        weights.fill_(step)
        saver.save(step, {"weights": weights})
        weights.fill_(-1)  # the next step goes on at once
    saver.close()
    assert events == [("checkpoint", step) for step in (1, 2, 3)]
    found = [torch.load(path, weights_only=True)["weights"] for path in directory.checkpoints.newest_first()]
    assert [tensor.unique().tolist() for tensor in found] == [[3.0], [2.0]]


def _save_and_close(saver: CheckpointSaver) -> None:
    saver.save(2, {})
    saver.close()


@pytest.mark.parametrize("required", [False, True])
@pytest.mark.parametrize("background", [False, True])
def test_a_save_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, required: bool, background: bool) -> None:
    saver, events, directory = _saver(tmp_path, required=required, background=background)
    saver.save(1, {})
    saver.poll(wait=True)

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(saver_module, "write_checkpoint", fail)
    if required:
        with pytest.raises(RunError, match=r"step 2 could not be saved: No space left on device"):
            _save_and_close(saver)
        return
    saver.save(2, {})
    saver.poll(wait=True)
    monkeypatch.undo()
    saver.save(3, {})
    saver.close()
    assert events == [("checkpoint", 1), ("checkpoint_failed", 2), ("checkpoint", 3)]
    assert [path.name for path in directory.checkpoints.newest_first()] == ["step-00000003.pt", "step-00000001.pt"]
