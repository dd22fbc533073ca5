"""The run on a real terminal: its progress line, NO_COLOR, and Ctrl-C with the command that goes on."""

import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import ROOT, run
from tests.runs import result, words

pytestmark = [pytest.mark.slow, pytest.mark.extended]


COLOUR = re.compile(rb"\x1b\[[0-9;]*3[0-9]m")


def on_a_terminal(*command: str, env: dict[str, str], until: Callable[[bytes], bool]) -> bytes:
    """What the program writes to a terminal of its own; Ctrl-C is typed once `until` holds."""
    main, other = pty.openpty()
    process = subprocess.Popen(
        command, stdin=other, stdout=other, stderr=other, cwd=ROOT, env=os.environ | env, start_new_session=True
    )
    os.close(other)
    try:
        seen = _read_until_it_ends(main, process, until)
        assert process.wait(10) == 0
    finally:
        process.kill()
    return seen


def _read_until_it_ends(main: int, process: subprocess.Popen[bytes], until: Callable[[bytes], bool]) -> bytes:
    seen, typed, end = b"", False, time.monotonic() + 120
    while time.monotonic() < end:
        if not select.select([main], [], [], 1)[0]:
            continue
        try:
            seen += os.read(main, 65536)
        except OSError:  # Linux's way to say that the other side is closed
            break
        if not typed and until(seen):
            os.killpg(process.pid, signal.SIGINT)  # as the terminal does to all of its processes
            typed = True
    return seen


def has_time_left(text: bytes) -> bool:
    """The progress line says how long the rest will take."""
    return re.search(rb"/100000 .*loss.* \d+:\d\d:\d\d", text) is not None


def test_progress_colours_and_ctrl_c(tmp_path: Path) -> None:
    long = words(tmp_path, "names", "run.name=long", "train.steps=100000", "logging.every_steps=5")
    env = {"TERM": "xterm-256color", "COLUMNS": "160", "NO_COLOR": "1"}
    seen = on_a_terminal(sys.executable, "train_ddp.py", *long, "--fresh", env=env, until=has_time_left)
    for part in (b"tokens_per_second", b"padding_fraction", b"loss"):
        assert part in seen
    assert not COLOUR.search(seen)
    assert b"Traceback" not in seen
    stopped = result(tmp_path / "long")
    assert stopped["status"] == "preempted"
    found = re.search(r"stopped by SIGINT; go on: (\S+ train_ddp.py .*?)\r", seen.decode())
    assert found
    assert "--fresh" not in found[1]
    # What it says to type goes on, from the step at which it stopped.
    step = stopped["step"]
    typed = [word.replace("train.steps=100000", f"train.steps={step + 3}") for word in shlex.split(found[1])]
    refused = run(*typed)
    assert "train.steps: 100000 there" in refused.stderr  # another run; the command as it is would train for hours
    again = on_a_terminal(*shlex.split(found[1]), env=env | {"NO_COLOR": ""}, until=lambda text: b"loss" in text)
    assert f"resumes at step {step} of".encode() in again
    assert COLOUR.search(again)


def test_long_work_shows_what_is_left(names: Path) -> None:
    env = {"TERM": "xterm-256color", "COLUMNS": "160"}
    seen = on_a_terminal(sys.executable, "-m", "seq.evaluate", str(names), env=env, until=lambda text: False)
    assert b"evaluating 5,696 sequences" in seen
    assert b"accuracy" in seen
    piped = run("python", "-m", "seq.evaluate", names)
    assert "evaluating" not in piped.stdout + piped.stderr


def test_texts_of_strangers_do_not_steer_the_terminal(names: Path) -> None:
    env = {"TERM": "xterm-256color", "COLUMNS": "160"}
    nasty = "a\x1b]0;title\x07b\x9b2J"
    seen = on_a_terminal(
        sys.executable, "-m", "seq.predict", str(names), nasty, env=env, until=lambda text: False
    ).decode()
    answer = next(line for line in seen.splitlines() if line.startswith("a"))
    assert "\x1b" not in answer
    assert "\x9b" not in answer
    assert "title" in answer
    piped = run("python", "-m", "seq.predict", names, nasty)
    assert piped.stdout.startswith(nasty)
