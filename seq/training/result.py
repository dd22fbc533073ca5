"""`result.json`: what a run came to, on what data, and where."""

from typing import Any

import numpy as np
import torch

from launch.context import Launch
from seq.data.corpus import Corpus, Split
from seq.training.checkpoint import params_sha256
from seq.training.environment import describe_environment
from seq.training.metrics import Evaluation
from seq.training.mistakes import confused_examples
from seq.training.state import TrainState

BINS = 30
"""Of a histogram of lengths."""


def make_result(
    state: TrainState,
    final: Evaluation | None,
    split: str,
    stopped_by: str | None,
    world_size: int,
    steps_per_epoch: int,
) -> dict[str, Any]:
    """Figures of a run that is finished, or was `stopped_by` a signal; `eval` are those of `split`."""
    progress = state.progress
    return {
        "status": "preempted" if stopped_by else "finished",
        "stopped_by": stopped_by,
        "step": progress.step,
        "epoch": progress.step / steps_per_epoch,
        "world_size": world_size,
        "params_sha256": params_sha256(state.model),
        "num_parameters": sum(parameter.numel() for parameter in state.model.parameters()),
        "split": split,
        "eval": final.figures if final else {},
        "confusion": final.confusion.tolist() if final and final.confusion is not None else None,
        **progress.figures(),
        "torch": torch.__version__,
    }


def describe_result(
    state: TrainState, final: Evaluation | None, split: str, corpus: Corpus, launch: Launch, device: torch.device
) -> dict[str, Any]:
    """What the report shows beside the figures; made by rank 0 alone."""
    confusion = final.confusion if final else None
    return {
        "labels": list(corpus.labels),
        "confused": [] if confusion is None else confused_examples(state.model, corpus, split, confusion, device),
        "data": {name: describe_split(part) for name, part in corpus.splits.items()},
        "vocab_size": corpus.tokenizer.vocab_size,
        "notes": list(corpus.notes),
        "environment": describe_environment(launch, device),
    }


def describe_split(split: Split) -> dict[str, Any]:
    """`rows`, `tokens`, and `lengths`: how many rows are as long (in time steps) as each bin, from `edges[i]` on."""
    lengths, counts = split.line.length, np.diff(split.line.start)
    whole = np.arange(int(lengths[-1]), int(lengths[0]) + 2)
    edges = whole if len(whole) <= BINS + 1 else np.linspace(whole[0], whole[-1], BINS + 1).round()
    histogram, _ = np.histogram(lengths, bins=edges, weights=counts)
    return {
        "rows": len(split),
        "tokens": int(lengths @ counts),
        "edges": [int(edge) for edge in edges],
        "lengths": [int(count) for count in histogram],
    }
