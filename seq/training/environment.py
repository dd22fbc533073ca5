"""Where a run happened: hardware, versions, commit. Written with its result, so that figures can be traced."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from launch.context import Launch

PACKAGES = ("torch", "numpy", "datasets", "wandb")
ROOT = Path(__file__).parent.parent.parent


def describe_environment(launch: Launch, device: torch.device) -> dict[str, Any]:
    """As JSON; no host name and no user, since reports are passed on."""
    return {
        "launcher": launch.launcher,
        "device": _device_name(device),
        "cpu": _cpu_name(),
        "cpu_cores": os.cpu_count(),
        "python": platform.python_version(),
        "cuda": torch.version.cuda,
        "system": f"{platform.system()} {platform.machine()}",
        **{package: importlib.metadata.version(package) for package in PACKAGES},
        "git_commit": _git_commit(),
    }


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def _cpu_name() -> str:
    """Linux alone says it in a file; elsewhere the architecture has to do."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8", errors="replace").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _git_commit() -> str | None:
    """Of the code that runs, with `-dirty` if files differ from it; None where it is not in a repository."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
