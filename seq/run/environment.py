"""Where a run ran: hardware, versions, commit and command, without what names a person or a machine."""

import datetime
import importlib.metadata
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import seq
from launch.context import Launch
from launch.device import device_name

PACKAGES = ("torch", "numpy", "datasets", "wandb")
ROOT = Path(__file__).parent.parent.parent
ABSOLUTE = re.compile(r"(?<![\w./~:-])/(?:[^\s/,'\"{}\[\]]+/)*([^\s/,'\"{}\[\]]+)/?")
"""Matches an absolute path up to its first space; the group is the last component."""


def describe_environment(process: Launch, device: torch.device) -> dict[str, Any]:
    """Hardware, versions and commit, as JSON. No host and no user name, because reports are passed on."""
    return {
        "date": datetime.date.today().isoformat(),
        "command": describe_command(sys.argv),
        "launcher": process.launcher,
        "device": device_name(device),
        "cpu": cpu_name(),
        "cpu_cores": os.cpu_count(),
        "python": platform.python_version(),
        "cuda": torch.version.cuda,
        "system": f"{platform.system()} {platform.machine()}",
        "lockstep": seq.__version__,
        **{package: _version(package) for package in PACKAGES},
        "git_commit": _git_commit(),
    }


def describe_command(words: Sequence[str]) -> str:
    """The command of a run, without folders that are above this one, since they often hold a user's name."""
    return shlex.join(["python", Path(words[0]).name, *(ABSOLUTE.sub(r"\1", word) for word in words[1:])])


def without_folders(tree: Any) -> Any:
    """Return a config as nested dicts, with absolute paths reduced to their last component, because it is passed on to others."""
    if isinstance(tree, dict):
        return {key: without_folders(value) for key, value in tree.items()}
    return ABSOLUTE.sub(r"\1", tree) if isinstance(tree, str) and tree.startswith("/") else tree


def cpu_name() -> str:
    """The processor's name, which only Linux has in a file; elsewhere its architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8", errors="replace").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    """None if the installation has no metadata of the package, as some images and folders on PYTHONPATH do."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """The commit of this code, with `-dirty` if files differ from it; None outside a repository."""
    if not (ROOT / ".git").exists():  # an installed package, perhaps inside another repository
        return None
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
