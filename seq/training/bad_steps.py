"""Steps whose loss or gradient was not finite: they changed no weight; here they are counted and written down."""

import json
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from launch.collectives import sum_over_ranks
from seq.config import Config
from seq.data.corpus import Corpus
from seq.data.dataset import SequenceDataset, decode_rows
from seq.data.sampler import ShardSampler
from seq.errors import RunError
from seq.training.run_directory import RunDirectory, explaining, write_atomically
from seq.training.state import TrainState
from seq.training.step import StepResult

MOST_FILES = 100
"""A run that is bad now and then, for weeks, shall not fill the disk."""


@dataclass
class BadSteps:
    """`note` each step; `settle`, called by every rank at the same steps, looks at what was noted. Until then nothing
    is fetched from the device. The batch need not be kept: the plan gives it again."""

    directory: RunDirectory
    config: Config
    corpus: Corpus
    state: TrainState
    dataset: SequenceDataset
    sampler: ShardSampler
    is_main: bool
    _noted: list[tuple[int, StepResult]] = field(default_factory=list)

    def note(self, step: int, done: StepResult) -> None:
        """`step` as in the logs: the first is 1."""
        self._noted.append((step, done))

    def settle(self) -> None:
        """RunError if more than `train.max_bad_steps` in a row were bad."""
        noted, self._noted = self._noted, []
        flags = torch.stack([done.bad for _, done in noted]).tolist() if noted else []
        for (step, done), bad in zip(noted, flags, strict=True):
            self._count(step, done, bad)

    def _count(self, step: int, done: StepResult, bad: bool) -> None:
        """All ranks have the same flags, so they come to the same collective."""
        progress = self.state.progress
        losses = sum_over_ranks(done.shard_losses.clone()) if bad else done.shard_losses
        if bad and self._is_overflow(losses):
            progress.overflow_steps += 1
            return
        progress.bad_steps += bad
        progress.bad_in_a_row = progress.bad_in_a_row + 1 if bad else 0
        if bad:
            self._write(step, losses, done.grad_norm)
        if progress.bad_in_a_row > self.config.train.max_bad_steps:
            raise RunError(self._advice(step)) if self.is_main else SystemExit(1)

    def _is_overflow(self, losses: Tensor) -> bool:
        """fp16 gradients overflow now and then, until the loss scale fits; with a finite loss and a scale left to lower
        that is how it works."""
        fp16 = self.config.train.precision == "fp16"
        return fp16 and bool(losses.isfinite().all()) and self.state.scaler.get_scale() > 1

    def _write(self, step: int, losses: Tensor, grad_norm: Tensor) -> None:
        if not self.is_main or self.state.progress.bad_steps > MOST_FILES:
            return
        about = {
            "step": step,
            "grad_norm": repr(grad_norm.item()),
            "shards": [self._shard(step, shard, loss) for shard, loss in enumerate(losses.tolist())],
            "inspect": f"python -m seq.replay {self.directory.path} --step {step} --inspect",
        }
        with explaining(self.directory.bad_steps):
            self.directory.bad_steps.mkdir(exist_ok=True)
            write_atomically(self.directory.bad_steps / f"step-{step:08d}.json", json.dumps(about, indent=1))

    def _shard(self, step: int, shard: int, loss: float) -> dict[str, Any]:
        """Its loss, and its rows as text."""
        (place,) = self.sampler.shards(range(step - 1, step), range(shard, shard + 1))
        return {"shard": shard, "loss": repr(loss), "rows": decode_rows(self.dataset[place], self.corpus)}

    def _advice(self, step: int) -> str:
        return (
            f"the loss or gradient of {self.state.progress.bad_in_a_row} steps in a row was not finite, up to step {step} "
            f"(train.max_bad_steps={self.config.train.max_bad_steps}); their batches are in {self.directory.bad_steps}. Lower "
            "optimizer.lr or train.max_norm, or look into a step with python -m seq.replay RUN --step K --inspect"
        )
