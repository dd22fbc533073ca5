"""`result.json`: the run's final figures, its data, and where it ran."""

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

import numpy as np
import torch

import seq
from launch.context import Launch
from seq.config import Config, Task
from seq.config.read import load_config, override_config
from seq.data.split import Split
from seq.run.checkpoint import params_sha256
from seq.run.directory import Run, RunDirectory
from seq.training.metrics import Evaluation, calibration
from seq.training.mistakes import confused_examples
from seq.training.state import TrainState
from seq.training.uncertainty import macro_f1_error

BINS = 30
"""Bins of a histogram of lengths."""
PACKAGES = ("torch", "numpy", "datasets", "wandb")
ROOT = Path(__file__).parent.parent.parent
ABSOLUTE = re.compile(r"(?<![\w./~:-])/(?:[^\s/,'\"{}\[\]]+/)*([^\s/,'\"{}\[\]]+)/?")
"""An absolute path, as far as it has no spaces; the group is its last name."""


def make_result(
    run: Run, state: TrainState, final: Evaluation | None, split: str, epoch: float, stopped_by: str | None
) -> dict[str, Any]:
    """The figures of a run that is finished, or was `stopped_by` a signal; on rank 0 also its data and where it ran.
    `final`: the evaluation of `split`."""
    model = state.selection.model
    result = {
        "status": "preempted" if stopped_by else "finished",
        "stopped_by": stopped_by,
        "step": state.progress.step,
        "epoch": epoch,
        "world_size": run.process.world_size,
        "best": state.selection.result(),
        "params_sha256": params_sha256(model),
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "split": split,
        "eval": final.figures if final else {},
        "errors": _standard_errors(run.config.task, final) if final else {},
        "confusion": final.confusion.tolist() if final and final.confusion is not None else None,
        "classes": final.classes if final else None,
        "parts": final.parts if final else None,
        "calibration": _calibration(final) if final else None,
        **state.progress.figures(),
        "torch": torch.__version__,
    }
    if run.is_main:
        confusion = final.confusion if final and run.config.task == "classification" and not stopped_by else None
        result["confused"] = (
            [] if confusion is None else confused_examples(model, run.corpus, split, confusion, run.device)
        )
        result |= _describe(run) | run.ledger.figures()
    return result


def _standard_errors(task: Task, final: Evaluation) -> dict[str, float]:
    """Add the standard error of macro F1 where rows are independent. The tokens of a tagger are not."""
    if task != "classification" or final.confusion is None:
        return final.errors
    return final.errors | {"macro_f1": macro_f1_error(final.confusion)}


def _calibration(final: Evaluation) -> list[dict[str, float]] | None:
    return None if final.scores is None or final.claimed is None else calibration(final.scores, final.claimed)


def chosen_step(result: dict[str, Any]) -> int:
    """The step whose weights a finished run exports."""
    return int(result["best"]["step"] if result["best"] else result["step"])


def refit_config(directory: RunDirectory) -> Config:
    """The run that trains on all data for as many steps as the finished run in `directory` chose."""
    config, result = load_config(directory.config_file), directory.read_result()
    assert result is not None
    words = [
        f"run.name={config.run.name}-refit",
        f"train.steps={chosen_step(result)}",
        "train.refit=false",
        "train.patience=0",
    ]
    return override_config(
        config, [*words, "checkpoint.best=null", "data.train_on_validation=true"], where="train.refit"
    )


def _describe(run: Run) -> dict[str, Any]:
    return {
        "labels": list(run.corpus.labels),
        "data": {name: describe_split(part) for name, part in run.corpus.splits.items()},
        "vocab_size": run.corpus.tokenizer.vocab_size,
        "data_fingerprint": run.corpus.fingerprint,
        "notes": list(run.corpus.notes),
        "environment": describe_environment(run.process, run.device),
    }


def describe_split(split: Split) -> dict[str, Any]:
    """`rows`, `tokens`, and a histogram: `lengths[i]` rows have `edges[i]` to `edges[i + 1] - 1` time steps."""
    lengths, counts = split.by_length.length, np.diff(split.by_length.start)
    whole = np.arange(int(lengths.min()), int(lengths.max()) + 2)
    edges = whole if len(whole) <= BINS + 1 else np.linspace(whole[0], whole[-1], BINS + 1).round()
    histogram, _ = np.histogram(lengths, bins=edges, weights=counts)
    return {
        "rows": len(split),
        "tokens": int(lengths @ counts),
        "edges": [int(edge) for edge in edges],
        "lengths": [int(count) for count in histogram],
    }


def describe_environment(process: Launch, device: torch.device) -> dict[str, Any]:
    """Hardware, versions and commit, as JSON. No host and no user name, because reports are passed on."""
    return {
        "date": datetime.date.today().isoformat(),
        "command": describe_command(sys.argv),
        "launcher": process.launcher,
        "device": _device_name(device),
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
    """A config as nested dicts, with the last names of absolute paths alone: what is passed on to others."""
    if isinstance(tree, dict):
        return {key: without_folders(value) for key, value in tree.items()}
    return ABSOLUTE.sub(r"\1", tree) if isinstance(tree, str) and tree.startswith("/") else tree


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


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
