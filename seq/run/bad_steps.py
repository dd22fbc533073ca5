"""Steps whose loss or gradient was not finite: they changed no weight; here they are counted and recorded."""

import json
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from launch.collectives import sum_over_ranks
from seq.data.dataset import decode_rows
from seq.data.loader import BatchLoader
from seq.errors import RunError
from seq.files import disk_errors_as_run_errors, write_atomically
from seq.run.run import Run
from seq.training.state import TrainState
from seq.training.step import StepResult

MOST_FILES = 100
"""Most files to write, so that a long run with many bad steps does not fill the disk."""


@dataclass
class BadSteps:
    """`add` each step; `check`, called by every rank at the same steps, looks at the steps added since. Nothing is fetched
    from the device before that. Batches are not kept, because the plan gives them again."""

    run: Run
    state: TrainState
    batches: BatchLoader
    _unchecked: list[tuple[int, StepResult]] = field(default_factory=list)

    def add(self, step: int, done: StepResult) -> None:
        """`step` as in the logs: the first is 1."""
        self._unchecked.append((step, done))

    def check(self) -> None:
        """RunError if more than `train.max_bad_steps` in a row were bad."""
        steps, self._unchecked = self._unchecked, []
        flags = torch.stack([done.bad for _, done in steps]).tolist() if steps else []
        for (step, done), bad in zip(steps, flags, strict=True):
            self._count(step, done, bad)

    def _count(self, step: int, done: StepResult, bad: bool) -> None:
        """All ranks have the same flags, so they reach the same collective."""
        progress = self.state.progress
        losses = sum_over_ranks(done.shard_losses.clone()) if bad else done.shard_losses
        if bad and self._is_overflow(losses):
            progress.overflow_steps += 1
            return
        progress.bad_steps += bad
        progress.bad_in_a_row = progress.bad_in_a_row + 1 if bad else 0
        if bad:
            self._write(step, losses, done.grad_norm)
        if progress.bad_in_a_row > self.run.config.train.max_bad_steps:
            raise RunError(self._advice(step)) if self.run.is_main else SystemExit(1)

    def _is_overflow(self, losses: Tensor) -> bool:
        """fp16 gradients overflow sometimes, until the loss scale fits. With a finite loss, and a scale above 1, this is
        normal."""
        fp16 = self.run.config.train.precision == "fp16"
        return fp16 and bool(losses.isfinite().all()) and self.state.scaler.get_scale() > 1

    def _write(self, step: int, losses: Tensor, grad_norm: Tensor) -> None:
        if not self.run.is_main or self.state.progress.bad_steps > MOST_FILES:
            return
        about = {
            "step": step,
            "grad_norm": repr(grad_norm.item()),
            "shards": [self._shard(step, shard, loss) for shard, loss in enumerate(losses.tolist())],
            "inspect": f"python -m seq.replay {self.run.directory.path} --step {step} --inspect",
        }
        with disk_errors_as_run_errors(self.run.directory.bad_steps):
            self.run.directory.bad_steps.mkdir(exist_ok=True)
            write_atomically(self.run.directory.bad_steps / f"step-{step:08d}.json", json.dumps(about, indent=1))

    def _shard(self, step: int, shard: int, loss: float) -> dict[str, Any]:
        """The shard's loss, and its rows as text."""
        rows = decode_rows(self.batches.batch_of(step - 1, range(shard, shard + 1)), self.run.corpus)
        return {"shard": shard, "loss": repr(loss), "rows": rows}

    def _advice(self, step: int) -> str:
        return (
            f"the loss or gradient of {self.state.progress.bad_in_a_row} steps in a row was not finite, up to step {step} "
            f"(train.max_bad_steps={self.run.config.train.max_bad_steps}); their batches are in {self.run.directory.bad_steps}. Lower "
            "optimizer.lr or train.clip_grad_norm, or look into a step with python -m seq.replay RUN --step K --inspect"
        )
