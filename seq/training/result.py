"""`result.json`: what a run came to."""

from typing import Any

import torch

from seq.training.checkpoint import params_sha256
from seq.training.metrics import Evaluation
from seq.training.state import TrainState


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
