"""What runs the tests and benchmarks of GPUs, without one: on a machine that is lent for minutes, it must work at once."""

import importlib.metadata
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
import torch.distributed as dist
from torch._C._autograd import DeviceType

from benchmarks import gpu, profile
from launch.context import Launch
from launch.torch_compat import all_gather_tensor
from seq.run import environment
from tests.conftest import chooses_gpu
from tests.helpers import can_be_forked


def test_gathering_before_torch_2_13(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(dist, "all_gather_single", raising=False)
    called: list[Any] = []
    monkeypatch.setattr(dist, "all_gather_into_tensor", lambda *given, **named: called.append((given, named)))
    received, sent = torch.zeros(4), torch.ones(2)
    all_gather_tensor(received, sent, None)
    assert called == [((received, sent), {"group": None})]


def test_torchrun_is_not_forked_where_cuda_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTORCH_NVML_BASED_CUDA_CHECK", raising=False)
    assert can_be_forked() == ("python", "torchrun")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert can_be_forked() == ("python",)
    monkeypatch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    assert can_be_forked() == ("python", "torchrun")


@pytest.mark.parametrize(
    ("marks", "chosen"), [("gpu", True), ("slow and gpu", True), ("not slurm and not gpu", False), ("", False)]
)
def test_gpus_are_seen_by_tests_for_gpus(marks: str, chosen: bool) -> None:
    assert chooses_gpu(marks) == chosen


def test_a_package_without_metadata_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    process = Launch(launcher="python", rank=0, local_rank=0, world_size=1)
    about = environment.describe_environment(process, torch.device("cpu"))
    assert [about[name] for name in environment.PACKAGES] == [None] * len(environment.PACKAGES)


def test_only_kernels_count_in_a_profile_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "DEVICE", torch.device("cuda"))

    def spent(device: DeviceType, is_range: bool) -> float:
        event: Any = SimpleNamespace(device_type=device, is_user_annotation=is_range, self_device_time_total=5.0)
        return profile.spent_in(event)

    assert spent(DeviceType.CUDA, False) == 5
    assert spent(DeviceType.CUDA, True) == spent(DeviceType.CPU, False) == 0


def test_a_job_that_reaches_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is stopped with all that it has started, and what it said until then is kept."""
    monkeypatch.setattr(gpu, "GRACE", 1)
    program = "import subprocess as s; print('begun', s.Popen(['sleep', '77'], start_new_session=True).pid); import time; time.sleep(60)"
    begin = time.monotonic()
    assert gpu.run((sys.executable, "-u", "-c", program), tmp_path, tmp_path / "log", 1.5) == 124
    assert time.monotonic() - begin < 10
    said, pid = (tmp_path / "log").read_text().split()[:2]
    assert said == "begun"
    assert not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE


def test_a_job_finds_packages_beside_the_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    words = (sys.executable, "-c", "import os; print(os.environ['PYTHONPATH'])")
    assert gpu.run(words, tmp_path, tmp_path / "log", 60) == 0
    assert (tmp_path / "log").read_text().strip() == os.pathsep.join((str(gpu.ROOT), "/somewhere"))


def test_failures_are_written_as_they_come(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_one():\n    assert 1 == 2, 'the reason'\n")
    words = (sys.executable, "-m", "pytest", "-q", "-p", "tests.failures", "-p", "no:cacheprovider", str(tmp_path))
    env = {"FAILURES": str(tmp_path / "failures.log"), "PYTHONPATH": str(gpu.ROOT)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu, "OUT", tmp_path)
        patch.delenv("PYTEST_XDIST_WORKER", raising=False)
        for name, value in env.items():
            patch.setenv(name, value)
        assert gpu.run(words, tmp_path, tmp_path / "log", 60) == 1
    assert "the reason" in (tmp_path / "failures.log").read_text()
