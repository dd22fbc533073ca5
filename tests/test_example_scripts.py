"""The scripts in examples/ do what their first lines say."""

import re
from pathlib import Path

import pytest

from tests.helpers import ROOT, run

pytestmark = [pytest.mark.slow, pytest.mark.extended]


def test_any_model_in_lockstep() -> None:
    """A Transformer with dropout: one digest at every number of processes, and few lines of ours."""
    found = set()
    for processes in (1, 2, 3, 4):
        launcher = ("torchrun", "--standalone", f"--nproc_per_node={processes}")
        done = run(*launcher, "examples/any_model.py", "--steps", "4", forked=False, env={"PYTHONPATH": str(ROOT)})
        assert done.returncode == 0, done.stderr
        assert f"{processes} processes: loss" in done.stdout
        assert "ms a step, plain DDP" in done.stdout
        found.add(re.findall(r"parameters (\w{16})", done.stdout)[0])
    assert len(found) == 1
    lines = (ROOT / "examples" / "any_model.py").read_text().splitlines()
    assert len(lines) <= 120
    assert sum(line.endswith("# lockstep") for line in lines) <= 10


def test_lockstep_inside_accelerate() -> None:
    found = set()
    for processes in (1, 2, 3):
        launcher = ("torchrun", "--standalone", f"--nproc_per_node={processes}", "examples/with_accelerate.py")
        done = run(*launcher, forked=False, env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
        assert done.returncode == 0, done.stderr
        found.add(re.findall(rf"{processes} processes: parameters (\w{{16}})", done.stdout)[0])
    assert len(found) == 1
    assert len((ROOT / "examples" / "with_accelerate.py").read_text().splitlines()) <= 60


def test_the_lecture_in_one_file(tmp_path: Path) -> None:
    """Two epochs, of which the second is a resume, are better than one; and it can be read in ten minutes."""
    checkpoint = tmp_path / "lecture.pt"
    found = []
    for epochs in ("1", "2"):
        launcher = ("torchrun", "--standalone", "--nproc_per_node=2", "examples/lecture.py")
        env = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = run(*launcher, "--epochs", epochs, "--checkpoint", checkpoint, forked=False, env=env)
        assert done.returncode == 0, done.stderr
        found += re.findall(r"epoch (\d): loss [\d.]+, test accuracy ([\d.]+)", done.stdout)
    assert [epoch for epoch, _ in found] == ["1", "2"]
    assert 0.3 < float(found[0][1]) < float(found[1][1])
    assert len((ROOT / "examples" / "lecture.py").read_text().splitlines()) <= 150
