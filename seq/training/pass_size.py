"""How many shards a process computes in one pass. It changes memory and speed, and no bit, so each process decides for itself."""

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from launch.tree import TreeSum, subtree_of
from seq.data.loader import BatchLoader
from seq.errors import RunError, warn
from seq.models.gru import GRU
from seq.models.layers import Dropout, Embedding, Linear
from seq.models.ngrams import RowTable
from seq.training.pass_gradients import PassGradients
from seq.training.step import Trainer

LAYERS = (Dropout, Embedding, GRU, Linear, RowTable)
"""Layers with parameters or random numbers that know the shards of a pass."""


def choose_pass_size(trainer: Trainer, batches: BatchLoader) -> None:
    """Give a pass as many shards as `run.pass_tokens` allows, as fit into memory, and as the model computes like each of them alone. With
    `run.threads` > 1 it has one: threads divide the work by the size of the whole."""
    run, sampler = trainer.config.run, batches.sampler
    fitting = run.pass_tokens // sampler.largest(range(1)).sizes.padded_tokens
    sampler.most_in_pass = max(1, fitting) if run.threads == 1 else 1
    if trainer.config.train.memory_check:
        _reduce_to_memory(trainer, batches)
    if sampler.most_in_pass > 1 and (reason := _why_alone(trainer, batches)):
        sampler.most_in_pass = 1
        warn(f"{reason}, so a pass has one shard; this changes no bit, but takes longer (docs/extending.md)")


def _reduce_to_memory(trainer: Trainer, batches: BatchLoader) -> None:
    while True:
        try:
            trainer.check_memory(batches.largest_pass())
            return
        except RunError:
            most = max(map(len, batches.sampler.passes))
            if most == 1:
                raise
            batches.sampler.most_in_pass = most // 2


def _why_alone(trainer: Trainer, batches: BatchLoader) -> str | None:
    """Compute shards of the first step together and alone, and compare the bits; also with the teacher forcing of the last step."""
    if layer := _unknown_layer(trainer.model):
        return f"{layer} does not know the shards of a pass"
    last_step = batches.total_steps(trainer.config.train)
    for step in {last_step - 1, 0} if trainer.config.train.teacher_forcing_end is not None else {0}:
        trainer.set_lr(step, last_step)
        if differing := _differences(trainer, batches):
            return f"{differing[0]} has other bits if shards are computed together"
    return None


def _differences(trainer: Trainer, batches: BatchLoader) -> list[str]:
    shards = max(batches.sampler.passes, key=len)
    whole = trainer.try_pass(batches.batch_of(0, shards))
    alone: TreeSum[PassGradients] = TreeSum(PassGradients.add)
    for number in shards:
        one = range(number, number + 1)
        alone.push(subtree_of(one), trainer.try_pass(batches.batch_of(0, one)))
    return whole.differences(alone.total())


def _unknown_layer(module: nn.Module, name: str = "model") -> str | None:
    """The name of a layer that would mix shards; None if there is none."""
    if isinstance(module, LAYERS):
        return None
    if isinstance(module, _DropoutNd) or any(True for _ in module.parameters(recurse=False)):
        return f"{name} ({type(module).__name__})"
    found = (_unknown_layer(child, f"{name}.{own}") for own, child in module.named_children())
    return next(filter(None, found), None)
