"""The scripts in examples/ do what their first lines say."""

import re

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
