import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from seq.commands import PROGRAMS
from tests.helpers import ROOT
from tests.runs import few_rows, result, words

pytestmark = pytest.mark.slow


def test_several_processes_listen_on_no_network(tmp_path: Path) -> None:
    """torchrun's own store would listen on every interface, and run what it is sent."""
    command = words(tmp_path, "names", *few_rows(tmp_path), "run.name=run", "train.steps=80", "batch.shards=2")
    lockstep = [sys.executable, "-m", "seq", "train", "--processes", "2", *command]
    env = os.environ | {"TMPDIR": str(tmp_path)}
    process = subprocess.Popen(lockstep, cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
    heard = set[str]()
    while process.poll() is None:
        heard |= _listening(process.pid)
        time.sleep(0.1)
    assert process.returncode == 0
    assert result(tmp_path / "run")["world_size"] == 2
    assert heard, "nobody listens: how do the ranks meet?"
    assert heard <= {"127.0.0.1", "::1"}
    assert not list(tmp_path.glob("lockstep-*")), "the ranks' store is left"


def _listening(pid: int) -> set[str]:
    """The addresses on which a process and its descendants take connections."""
    found = set[str]()
    try:
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            found |= {one.laddr.ip for one in process.net_connections("inet") if one.status == psutil.CONN_LISTEN}
    except psutil.NoSuchProcess:
        pass
    return found


def test_help_does_not_wait_for_torch(tmp_path: Path) -> None:
    """In none of the programs: here, whoever imports torch or NumPy fails."""
    for package in ("torch", "numpy", "datasets"):
        (tmp_path / f"{package}.py").write_text("raise ImportError('not for --help')")
    env = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    for name, (module, _) in PROGRAMS.items():
        alone = ["train_ddp.py"] if name == "train" else ["-m", module.removesuffix(".__main__")]
        for program in (["-m", "seq", name], alone):
            done = subprocess.run(
                [sys.executable, *program, "--help"], env=env, cwd=ROOT, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            assert done.stdout.startswith("usage: ")
