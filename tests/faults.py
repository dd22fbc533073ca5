"""Training runs with a fault inside: python -m tests.faults FAULT ARGUMENT [words of train_ddp.py]

Each fault replaces functions of the project with `patch.object`, which fails if they are renamed.
"""

import gc
import json
import os
import sys
import time
from contextlib import suppress
from datetime import timedelta
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import HashStore  # type: ignore[attr-defined]

import train_ddp
from launch.context import describe_launch
from launch.group import process_group
from seq.command_line import exit_code
from seq.data.dataset import Batch
from seq.errors import RunError
from seq.run import checkpoints
from seq.run import run as seq_run
from seq.run.checkpoint import write_checkpoint
from seq.training.objective import Objective
from seq.training.step import Trainer


def die_after_save(argument: str, words: list[str]) -> None:
    """End at once, with exit code 9, after the checkpoint of this step has been written."""

    def write(path: Path, content: BytesIO) -> None:
        write_checkpoint(path, content)
        if path.name == f"step-{int(argument):08d}.pt":
            os._exit(9)

    with patch.object(checkpoints, "write_checkpoint", write):
        train_ddp.main(words)


def flip_bit(argument: str, words: list[str]) -> None:
    """One bit of a gradient flips on rank 1, in its backward pass of this number (from 1)."""

    class FlippingTrainer(Trainer):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.calls = 0
            self.model.output.weight.register_hook(self._flip)  # type: ignore[no-untyped-call]

        def _flip(self, gradient: Tensor) -> Tensor:
            self.calls += 1
            flips = dist.get_rank() == 1 and self.calls == int(argument)
            return _with_a_flipped_bit(gradient) if flips else gradient

    with patch.object(seq_run, "Trainer", FlippingTrainer):
        train_ddp.main(words)


def compute_wrongly(argument: str, words: list[str]) -> None:
    """`6 once`: the rank that has the shard which is compared in step 6 flips a bit of its gradient, `once` or `always`."""
    step, times = argument.split()

    class FlippingTrainer(Trainer):
        compared = -1
        attempts, flipped = 0, False

        def accumulate_gradients(self, passes: list[Batch], keep: int | None = None) -> Tensor:
            if passes[0].step + 1 == int(step):
                self.attempts += 1
                if self.attempts == 1 and keep is not None and any(keep in batch.shards for batch in passes):
                    self.compared = keep
            return super().accumulate_gradients(passes, keep)

        def _backward(self, model: Any, batch: Batch, scaler: Any) -> tuple[Tensor, Tensor | None]:
            struck = batch.step + 1 == int(step) and self.compared in batch.shards
            if not struck or (self.flipped and times == "once"):
                return super()._backward(model, batch, scaler)
            self.flipped = True
            place = batch.shards.index(self.compared) * len(batch.lengths) // len(batch.shards)
            handle = self.model.output.register_forward_hook(partial(_flip_in_backward, place))
            found = super()._backward(model, batch, scaler)
            handle.remove()
            return found

    with patch.object(seq_run, "Trainer", FlippingTrainer):
        sys.exit(exit_code(lambda: train_ddp.main(words)))


def _flip_in_backward(place: int, _: Any, __: Any, output: Tensor) -> None:
    output.register_hook(lambda gradient: _with_a_flipped_bit(gradient, place))  # type: ignore[no-untyped-call]


def _with_a_flipped_bit(gradient: Tensor, place: int = 0) -> Tensor:
    gradient = gradient.clone(memory_format=torch.contiguous_format)
    gradient[place].view(-1)[:1].view(torch.uint8)[gradient.element_size() // 2] ^= 16
    return gradient


def bad_losses(argument: str, words: list[str]) -> None:
    """Several runs in one process group: `[[[[step, shard], ...], words], ...]` as JSON. The losses of these shards are
    infinite."""
    original = Objective.losses
    for bad, arguments in json.loads(argument):
        places = {tuple(place) for place in bad}

        def losses(
            self: Objective, model: Any, batch: Batch, hidden: Any, places: set[Any] = places
        ) -> tuple[Tensor, Any]:
            found, last = original(self, model, batch, hidden)
            bad = [float("inf") if (batch.step, shard) in places else 1.0 for shard in batch.shards]
            return found * torch.tensor(bad), last

        with patch.object(Objective, "losses", losses):
            try:
                train_ddp.main(arguments)
            except (RunError, SystemExit) as error:
                print("ended:", error, flush=True)
        _leave_group()


def _leave_group() -> None:
    """After an error. DDP's reducer, which its frames held, must not outlive the group."""
    if dist.is_initialized():
        gc.collect()
        dist.barrier()
        dist.destroy_process_group()


class _AbandonedError(Exception):
    """The run shall end here."""


def many(argument: str, words: list[str]) -> None:
    """Several runs in one process: `[[stop, words], ...]` as JSON. Each run is abandoned on all ranks in the step after
    `stop`, if that is not null."""
    original = train_ddp.is_due
    for stop, arguments in json.loads(argument):

        def is_due(step: int, every: int, total: int, stop: int | None = stop) -> bool:
            if stop is not None and step > stop:
                raise _AbandonedError
            return original(step, every, total)

        with patch.object(train_ddp, "is_due", is_due), suppress(_AbandonedError):
            train_ddp.main(arguments)
        _leave_group()


def error_in_group(argument: str, words: list[str]) -> None:
    """An error while the watchdog waits in the store."""

    def position() -> str:
        store = HashStore()
        for _ in range(2000):
            with suppress(RuntimeError):
                store.wait(["never"], timedelta(milliseconds=1))
        return ""

    with process_group(describe_launch(), timeout_seconds=60, position=position):
        time.sleep(0.2)
        raise ValueError("planted")


FAULTS = (
    die_after_save,
    flip_bit,
    compute_wrongly,
    bad_losses,
    many,
    error_in_group,
)

if __name__ == "__main__":
    name, argument, *words = sys.argv[1:]
    {fault.__name__: fault for fault in FAULTS}[name](argument, words)
