"""`result.json`: the run's final figures, its data, and where it ran."""

from typing import Any

import numpy as np
import torch
from torch import nn

from launch.device import device_name
from seq.config import Config
from seq.config.read import load_config, override_config
from seq.data.split import Split
from seq.errors import UserError
from seq.run.checkpoint import params_sha256
from seq.run.directory import RunDirectory
from seq.run.environment import cpu_name, describe_environment, without_folders
from seq.run.floor import measure_floor
from seq.run.run import Run
from seq.tasks import Evaluation
from seq.tasks.confusion import calibration
from seq.training.state import TrainState

BINS = 30
"""Bins of a histogram of lengths."""


def num_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def describe_start(run: Run, model: nn.Module, steps: int) -> dict[str, Any]:
    """Describe what a run begins with. `steps`: in all."""
    corpus, process = run.corpus, run.process
    return {
        "world_size": process.world_size,
        "device": str(run.device),
        "hardware": cpu_name() if run.device.type == "cpu" else device_name(run.device),
        "source": without_folders(run.config.data.files.train or run.config.data.source),
        "rows": {name: len(split) for name, split in corpus.splits.items()},
        "labels": len(corpus.labels),
        "vocab_size": corpus.tokenizer.vocab_size,
        "num_parameters": num_parameters(model),
        "steps": steps,
    }


def make_result(
    run: Run, state: TrainState, final: Evaluation | None, split: str, epoch: float, stopped_by: str | None
) -> dict[str, Any]:
    """Return the figures of a run that is finished, or was `stopped_by` a signal; every rank calls it. On rank 0 they include its data and
    where it ran. `final`: the evaluation of `split`."""
    model, confusion = state.selection.model, final.confusion if final else None
    result = {
        "status": "preempted" if stopped_by else "finished",
        "stopped_by": stopped_by,
        "step": state.progress.step,
        "epoch": epoch,
        "world_size": run.process.world_size,
        "best": state.selection.result(),
        "params_sha256": params_sha256(model),
        "num_parameters": num_parameters(model),
        "split": split,
        "eval": final.figures if final else {},
        "errors": run.task.standard_errors(final) if final else {},
        "confusion": confusion.dense().tolist() if confusion is not None and confusion.is_small else None,
        "classes": final.classes if final else None,
        "parts": final.parts if final else None,
        "calibration": _calibration(final) if final else None,
        **state.progress.figures(),
        **measure_floor(run, model, state.progress.tokens_seen),
        "torch": torch.__version__,
    }
    if run.is_main:
        result["confused"] = (
            [] if stopped_by or not final else run.task.mistakes(model, run.corpus, split, final, run.device)
        )
        result |= _describe(run) | run.ledger.figures() | _comparisons(run, state.progress.step)
    return result


def _calibration(final: Evaluation) -> list[dict[str, float]] | None:
    return None if final.scores is None or final.claimed is None else calibration(final.scores, final.claimed)


def chosen_step(result: dict[str, Any]) -> int:
    """The step whose weights a finished run exports."""
    return int(result["best"]["step"] if result["best"] else result["step"])


def refit_config(directory: RunDirectory) -> Config:
    """The run NAME-refit, which trains on all data for as many steps as the finished run in `directory` chose. UserError if that has not
    finished."""
    result = directory.read_result()
    if result is None or result["status"] != "finished":
        raise UserError(f"{directory.path}: --refit is for a run that is finished; start it without --refit first")
    config = load_config(directory.config_file)
    words = [f"run.name={config.run.name}-refit", f"train.steps={chosen_step(result)}", "train.patience=0"]
    return override_config(config, [*words, "checkpoint.monitor=null", "data.train_on_validation=true"], "--refit")


def _comparisons(run: Run, step: int) -> dict[str, Any]:
    """Steps in which a second process computed a shard too, and those in which it found something."""
    every = run.config.sync.witness_every
    return {"compared_steps": step // every if every else 0, "corruptions": run.directory.corruptions()}


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
