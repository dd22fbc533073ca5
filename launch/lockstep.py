"""Lockstep training for any model in a DDP script: the same bits at every number of processes.

    lockstep = Lockstep(model, shards=8, seed=1)
    for step in range(steps):
        for shard in lockstep.shards(step):
            inputs, targets = rows_of(step, shard.number)
            (loss_sum(shard.model(inputs), targets) / targets_of(step)).backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    lockstep.close()

A step has V shards (microbatches), whatever the number of processes W <= V. docs/your-own-trainer.md says what a script must keep.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from launch.allreduce import Compression, PlainReduction
from launch.ordered_reduction import OrderedReduction
from launch.passes import one_pass
from launch.seeding import seed_shard
from launch.step_record import StepRecord
from launch.tree import passes_of, share


class OwnShard(NamedTuple):
    """A shard of this rank."""

    number: int
    """Its place within the step, 0 to V - 1."""
    model: nn.Module
    """The model to call: under DDP for the rank's last shard, so that gradients are exchanged once a step."""


class Lockstep:
    """Adds up the gradients of the V `shards` of each step, in an order that does not depend on the number of processes. Needs a process
    group. ValueError for more processes than shards, and for batch normalisation, whose statistics are those of a process.

    `seed`: of what is random in the forward pass. `threads`: CPU threads of a product, which change its last bits. `reduction`:
    `allreduce` is plain DDP, for comparison, without equal bits; `compress`: what it sends.
    `record`: where to write what the steps compute, for a script that takes shard by shard.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        shards: int,
        seed: int,
        threads: int = 1,
        reduction: Literal["ordered", "allreduce"] = "ordered",
        compress: Compression = "none",
        record: StepRecord | None = None,
    ) -> None:
        if (processes := dist.get_world_size()) > shards:
            raise ValueError(f"{processes} processes cannot share {shards} shards")
        if named := [name for name, module in model.named_modules() if isinstance(module, _BatchNorm)]:
            raise ValueError(
                f"{named[0]}: batch normalisation depends on the rows of a process; use layer normalisation"
            )
        torch.set_num_threads(threads)
        self.model, self._seed = model, seed
        self._ddp = DistributedDataParallel(model, gradient_as_bucket_view=True)
        self.own = share(processes, shards)[dist.get_rank()]
        self._parameters = list(model.parameters())
        self._device = self._parameters[0].device
        self._kept: dict[Tensor, Tensor] = {}
        if record is not None and reduction == "allreduce":
            raise ValueError("a record needs reduction='ordered', which keeps the gradients of each shard apart")
        self._record = record
        self.reduction: OrderedReduction | PlainReduction
        if reduction == "ordered":
            self.reduction = OrderedReduction(self._ddp, shards=shards)
        else:
            self.reduction = PlainReduction(self._ddp, compress=compress)

    def shards(self, step: int) -> Iterator[OwnShard]:
        """This rank's shards. Call the model and `backward` once for each, even if it has no rows: then with a loss of 0. Dropout is
        seeded for the shard. After the loop, every `grad` is the sum over all shards, on every rank."""
        for shards, model in self.passes(step, passes_of(self.own, 1)):
            yield OwnShard(shards.start, model)
        if self._record is not None:
            self._record.step(step, self.model)

    def passes(self, step: int, passes: list[range], keep: int | None = None) -> Iterator[tuple[range, nn.Module]]:
        """As `shards`, for a model whose layers know the shards of a pass (`launch.passes`). `passes`: this rank's shards, cut by
        `passes_of`; gives each with the model to call. How they are cut changes no bit. `keep`: the shard whose gradients
        `kept` shall hold."""
        for parameter in self._parameters:
            parameter.grad = None
        for shards in passes:
            recorded = self._record if self._record and step == self._record.tensors_of else None
            chosen = shards.start if recorded else keep if keep in shards else None
            self.reduction.begin(shards, keep=chosen is not None and len(shards) == 1)
            seed_shard(self._seed, step, shards.start)
            with one_pass(self._seed, step, shards, self._device, chosen) as one:
                yield shards, self._ddp if shards == passes[-1] else self.model
            if chosen is not None:
                self._kept = one.kept
            if shards != passes[-1]:
                self.reduction.push()
            if recorded is not None:
                recorded.shard(step, shards.start, self.model, self.kept)
        self.reduction.finish()

    @property
    def kept(self) -> dict[Tensor, Tensor]:
        """By parameter, the gradients of the shard that was to be kept, before anything was added; of an ordered reduction."""
        assert isinstance(self.reduction, OrderedReduction)
        return self.reduction.kept | self._kept

    def assign(self, shards: list[range]) -> None:
        """From now on, each rank computes these shards; for an ordered reduction. What a rank without shards computes is ignored."""
        assert isinstance(self.reduction, OrderedReduction)
        self.reduction.assign(shards)

    def close(self) -> None:
        """Call this before the process group ends."""
        self.reduction.close()
