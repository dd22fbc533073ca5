"""`result.json`: what a run came to."""

from typing import Any

import torch

from seq.training.checkpoint import params_sha256
from seq.training.metrics import Evaluation
from seq.training.state import TrainState


def make_result(
    state: TrainState, final: Evaluation, split: str, *, world_size: int, steps_per_epoch: int
) -> dict[str, Any]:
    """Figures of a finished run; `eval` are those of `split`."""
    progress = state.progress
    return {
        "status": "finished",
        "step": progress.step,
        "epoch": progress.step / steps_per_epoch,
        "world_size": world_size,
        "params_sha256": params_sha256(state.model),
        "num_parameters": sum(parameter.numel() for parameter in state.model.parameters()),
        "split": split,
        "eval": final.figures,
        "confusion": None if final.confusion is None else final.confusion.tolist(),
        **progress.figures(),
        "torch": torch.__version__,
    }
