"""A worker does not outlive the torchrun that started it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.helpers import ROOT

WORKER = """
import signal, sys, time
from launch.parent import end_with_parent
end_with_parent()
if sys.argv[2:] == ["save"]:
    signal.signal(signal.SIGTERM, lambda *_: open(sys.argv[1] + ".saved", "w").close() or sys.exit())
open(sys.argv[1], "w").close()
time.sleep(60)
"""
PARENT = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', *sys.argv[1:]]).wait()"


def wait_for(what: object) -> None:
    limit = time.monotonic() + 20
    while not what():  # type: ignore[operator]
        assert time.monotonic() < limit
        time.sleep(0.02)


@pytest.mark.parametrize("saves", [False, True])
def test_it_ends_with_its_parent(tmp_path: Path, saves: bool) -> None:
    """At once, unless it has a handler that saves."""
    started = tmp_path / "started"
    words = [sys.executable, "-c", PARENT, WORKER, str(started), *["save"] * saves]
    parent = subprocess.Popen(words, cwd=ROOT, env=os.environ | {"TORCHELASTIC_RUN_ID": "x"})
    wait_for(started.exists)
    (worker,) = psutil.Process(parent.pid).children()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_for(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
    assert Path(f"{started}.saved").exists() == saves


def test_other_launchers_keep_their_ways(tmp_path: Path) -> None:
    """A program that was started in the background outlives its shell."""
    started = tmp_path / "started"
    env = {key: value for key, value in os.environ.items() if key != "TORCHELASTIC_RUN_ID"}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, WORKER, str(started)], cwd=ROOT, env=env)
    wait_for(started.exists)
    (worker,) = psutil.Process(parent.pid).children()
    parent.kill()
    parent.wait()
    time.sleep(0.5)
    assert worker.is_running()
    worker.kill()
