"""The first tensor in which two runs differ: its step, shard, name and position, and both values."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.utils._pytree import keystr, tree_flatten_with_path

from launch.collectives import one_nan
from launch.step_record import read_shards
from seq.errors import UserError
from seq.run.checkpoint import load_for_resume
from seq.run.directory import RunDirectory
from seq.run.recorded import RecordedSteps
from seq.run.run import Run
from seq.training.precision import configure_numerics


def first_difference(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> str | None:
    """A message about the first element with other bits, in the order of `one`, then of what only `other` has; None if there is none."""
    for name in [*one, *(name for name in other if name not in one)]:
        own, its = one.get(name), other.get(name)
        if own is None or its is None or own.shape != its.shape:
            return f"{name}: {_shape(own)} and {_shape(its)}"
        left, right = (one_nan(values.detach()).cpu().contiguous().view(-1) for values in (own, its))
        if len(places := (_bits(left) != _bits(right)).nonzero()):
            first = int(places[0])
            index = [int(place) for place in torch.unravel_index(torch.tensor(first), own.shape)]
            return f"{name} at {index}: {left[first].item()!r} and {right[first].item()!r}; {len(places)} of {len(left)} values differ"
    return None


def _shape(values: Tensor | None) -> str:
    return "nothing" if values is None else str(tuple(values.shape))


def _bits(values: Tensor) -> Tensor:
    """So that NaN is equal to itself, and 0 not to -0."""
    return values.view({1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[values.element_size()])


def compare_records(one: Path, other: Path) -> str | None:
    """Return a message about the first difference of two folders with `digests.jsonl` (`launch.step_record`, or runs); None if there is none."""
    records = RecordedSteps.read(one), RecordedSteps.read(other)
    if not (steps := records[0].steps_of_both(records[1])):
        raise UserError(
            f"{one} and {other}: no step is recorded in both (set logging.digests, or give Lockstep a StepRecord)"
        )
    for step in steps:
        if found := records[0].differences(records[1], step):
            return f"step {step}: {_in_tensors(one, other, step) or found[0]}"
    return None


def _in_tensors(one: Path, other: Path, step: int) -> str | None:
    """The difference in the tensors of a step, if both have kept them."""
    own, others = read_shards(one, step), read_shards(other, step)
    for shard in sorted({*own} & {*others}):
        if found := first_difference(own[shard], others[shard]):
            return f"shard {shard}: gradient of {found}"
    return None


class Replayed:
    """One of two runs that are replayed side by side."""

    def __init__(self, run: Run, step: int) -> None:
        """`step`: after which it begins; there is a checkpoint of it, unless it is 0."""
        self.run, self.trainer, self.batches = run, run.trainer(), run.batches()
        if step:
            checkpoint = load_for_resume([run.directory.checkpoints.at(step)], run.config, run.corpus)
            assert checkpoint is not None
            self.trainer.state.load_state_dict(checkpoint.state)

    def weights(self) -> dict[str, Tensor]:
        return dict(self.trainer.model.named_parameters())

    def state(self) -> dict[str, Tensor]:
        """All that a step reads: weights, the optimizer's averages, carried states."""
        leaves, _ = tree_flatten_with_path(self.trainer.state.state_dict())
        return self.weights() | {f"(state) {keystr(path)}": leaf for path, leaf in leaves if isinstance(leaf, Tensor)}

    def first_half(self, step: int) -> dict[str, Tensor]:
        """The losses and gradients of `step` (from 0), before the update."""
        configure_numerics(self.run.config, self.run.device)
        self._before = self.trainer.state.carried.gather().clone()
        self.trainer.set_lr(step, self.batches.total_steps(self.run.config.train))
        (passes,) = self.batches.steps(step, step + 1)
        self._losses = self.trainer.accumulate_gradients(passes)
        return {"the losses of the shards": self._losses} | dict(self.trainer.gradients())

    def second_half(self, step: int) -> RecordedSteps:
        """The update. Returns what would be recorded."""
        done = self.trainer.update(self._losses)
        return RecordedSteps.of(step + 1, self._losses.sum().item(), done.grad_norm.item(), done.digests)

    def shard(self, step: int, number: int) -> dict[str, Tensor]:
        """What the shard reads, and what comes of it. The step's own gradients are lost."""
        configure_numerics(self.run.config, self.run.device)
        self.trainer.state.carried.load(self._before)
        batch = self.batches.batch_of(step, range(number, number + 1))
        read = {name: value for name, value in batch._asdict().items() if isinstance(value, Tensor)}
        computed = self.trainer.try_pass(batch).named()
        return read | {name if name.startswith("the ") else f"gradient of {name}": computed[name] for name in computed}

    def close(self) -> None:
        self.trainer.close()


def compare_replays(one: Replayed, other: Replayed, steps: range) -> tuple[str | None, list[RecordedSteps]]:
    """Replay both through `steps` (from 0). A message about the first difference, or None; and what the last step would have recorded."""
    found: list[RecordedSteps] = []
    for step in steps:
        if different := first_difference(one.first_half(step), other.first_half(step)):
            return (
                f"step {step + 1}: {_in_shards(one, other, step) or f'only in the sum over shards: {different}'}",
                found,
            )
        found = [one.second_half(step), other.second_half(step)]
        if different := first_difference(one.weights(), other.weights()):
            return f"step {step + 1}: after equal gradients, the weight {different}", found
    return None, found


def _in_shards(one: Replayed, other: Replayed, step: int) -> str | None:
    if (shards := one.run.config.batch.shards) != (others := other.run.config.batch.shards):
        return f"{shards} and {others} shards"
    for number in range(shards):
        if different := first_difference(one.shard(step, number), other.shard(step, number)):
            return f"shard {number}: {different}"
    return None


def common_starts(one: RunDirectory, other: RunDirectory, before: int) -> list[int]:
    """The steps, newest first, from which both can begin; the last is 0."""
    own, others = (
        {int(path.stem.removeprefix("step-")) for path in each.checkpoints.newest_first()} for each in (one, other)
    )
    return [*sorted((step for step in own & others if step < before), reverse=True), 0]
