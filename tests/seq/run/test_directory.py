"""What is in a run directory, and who may use it."""

import os
import socket
from pathlib import Path

import pytest

from seq.config import Config
from seq.config.read import override_config
from seq.errors import UserError
from seq.run.directory import RunDirectory


def test_a_second_run_in_the_same_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seq.run.directory.LOCK_SECONDS", 0.1)
    first, second = RunDirectory(tmp_path / "run"), RunDirectory(tmp_path / "run")
    with first.locked_by(True):
        with second.locked_by(False):
            pass
        said = (
            rf"another process is running there, process {os.getpid()} on {socket.gethostname()}, for 0 minutes; wait"
        )
        with pytest.raises(UserError, match=said), second.locked_by(True):
            pass
        with RunDirectory(tmp_path / "other").locked_by(True):
            pass
    with second.locked_by(True):
        pass


ENDED = {"status": "finished", "step": 1, "eval": {}}


def _directory(tmp_path: Path, *overrides: str, fresh: bool = False) -> tuple[RunDirectory, Config]:
    config = override_config(Config(), [f"run.output_dir={tmp_path}", *overrides], where="test")
    return RunDirectory.of(config, fresh=fresh), config


def test_another_config_is_refused_with_the_keys_that_differ(tmp_path: Path) -> None:
    directory, config = _directory(tmp_path)
    directory.check(config)
    directory.begin(config, None)
    directory.check(_directory(tmp_path, "logging.every_steps=1")[1])
    with pytest.raises(UserError) as raised:
        directory.check(_directory(tmp_path, "optimizer.lr=1.0", "model.hidden_size=7")[1])
    assert "\n  model.hidden_size: 128 there, 7 here\n  optimizer.lr: 0.002 there, 1.0 here" in str(raised.value)


def test_fresh_keeps_the_old_run_beside(tmp_path: Path) -> None:
    for number in (1, 2):
        directory, config = _directory(tmp_path)
        directory.begin(config, None)
        directory.write_result(ENDED | {"number": number})
        directory, config = _directory(tmp_path, fresh=True)
        directory.check(config)
        assert directory.read_result() is None
        directory.begin(config, None)
    kept = [RunDirectory(tmp_path / f"run.old-{number}").read_result() for number in (1, 2)]
    assert kept == [ENDED | {"number": 1}, ENDED | {"number": 2}]


def test_what_is_no_run_directory(tmp_path: Path) -> None:
    directory, config = _directory(tmp_path)
    directory.path.mkdir()
    (directory.path / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"holds files, but no run \(no config.yaml\)"):
        directory.check(config)
    (tmp_path / "file").touch()
    blocked, config = _directory(tmp_path / "file")
    with pytest.raises(UserError, match="cannot be written"):
        blocked.check(config)
