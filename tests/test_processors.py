"""No test depends on the processor: those that compute in other precisions pass on pretended ones (tests/processors)."""

import os
import subprocess
import sys

import pytest

from tests.helpers import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.extended]

FILES = ("tests/launch/test_seeding.py", "tests/seq/training", "tests/test_same_bits.py")
CHOSEN = "seeding or precision or hyperparameters or speeches or names-bf16"


@pytest.mark.parametrize("processor", ["amx", "no-bf16 one-core"])
def test_on_another_processor(processor: str) -> None:
    env = os.environ | {"LOCKSTEP_PROCESSOR": processor, "PYTHONPATH": str(ROOT / "tests" / "processors")}
    command = [sys.executable, "-m", "pytest", "-q", "-k", CHOSEN, *FILES]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert " skipped" not in done.stdout
    asked = [
        sys.executable,
        "-c",
        "import os, launch.seeding as s; print(s.fast_fp32_error(), s.imitates_bf16(), os.cpu_count())",
    ]
    seen = subprocess.run(asked, cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout.split()
    assert seen[0] == "0.0026" if processor == "amx" else seen[1:] == ["True", "1"]


def test_a_processor_with_amx_refuses_fast_fp32() -> None:
    env = os.environ | {"LOCKSTEP_PROCESSOR": "amx", "PYTHONPATH": str(ROOT / "tests" / "processors")}
    command = [sys.executable, "train_ddp.py", "train.fast_fp32=true", "train.steps=1"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "train.fast_fp32: on this processor its products have a relative error of 2.6e-03" in done.stderr
