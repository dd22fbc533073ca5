"""One step: the gradient of all shards, from those of this rank, and the update."""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import get_total_norm

from launch.digest import tensor_digest
from launch.seeding import seed_shard
from seq.config import Config
from seq.data.dataset import Batch
from seq.training.memory import naming_what_does_not_fit
from seq.training.objective import loss_sum
from seq.training.precision import autocast
from seq.training.state import TrainState


class Reduction(Protocol):
    """How gradients of shards and ranks are added: see `launch.lockstep` and `launch.allreduce`."""

    waited: float
    """Seconds in which this rank's host waited for the others, in the last step."""

    def push(self) -> None: ...
    def finish(self) -> None: ...


@dataclass(frozen=True)
class StepResult:
    shard_losses: Tensor
    """(V,) float64: the loss of each shard; 0 for those of other ranks. Their sum over shards and ranks is the loss."""
    grad_norm: Tensor
    """Norm of the whole gradient before clipping."""
    bad: Tensor
    """True if loss or gradient are not finite: no weight was changed. The same on every rank."""
    digests: dict[str, str] | None
    """Of each parameter's gradient before clipping, if `logging.digests`."""


def accumulate_gradients(
    ddp: DistributedDataParallel, reduction: Reduction, state: TrainState, shards: list[Batch], config: Config
) -> Tensor:
    """Leave the gradient of the whole step in every `grad`, on every rank; return the shards' losses (V,).

    A shard's loss is its sum over the number of targets of the *whole* step, so the gradient is the plain sum over
    shards and ranks. The ranks add theirs up once, during the last shard; `no_sync` keeps the earlier ones local.
    A loss that is not finite makes its gradients NaN, and so the sum, which tells all ranks.
    """
    losses = torch.zeros(config.batch.shards, dtype=torch.float64, device=shards[0].inputs.device)
    for number, batch in enumerate(shards, 1):
        last = number == len(shards)
        seed_shard(config.run.seed, batch.step, batch.shard)
        with naming_what_does_not_fit(batch), nullcontext() if last else ddp.no_sync():
            with autocast(config.train.precision, batch.inputs.device):
                logits, hidden = ddp(**batch.arguments(state.carried.before(batch)))
            state.carried.after(batch, hidden)
            loss = loss_sum(logits, batch.targets) / batch.num_targets
            one_or_nan = torch.where(loss.detach().isfinite(), torch.ones_like(loss), torch.nan)
            state.scaler.scale(loss).backward(one_or_nan)  # type: ignore[no-untyped-call]
        losses[batch.shard] = loss.detach()
        if not last:
            reduction.push()
    reduction.finish()
    state.scaler.unscale_(state.optimizer)
    return losses


def update(state: TrainState, losses: Tensor, config: Config) -> StepResult:
    """One step of the optimizer, from the gradient of the whole step; none if that is not finite.

    Both are decided on the device, which is not waited for: the fused optimizer divides gradients by `grad_scale` while
    it reads them, so that clipping (Pascanu, Mikolov and Bengio, 2013) needs no pass of its own, and changes nothing
    where `found_inf` is 1.
    """
    digests = gradient_digests(state.model) if config.logging.digests else None
    grad_norm = get_total_norm(p.grad for p in state.model.parameters() if p.grad is not None)
    bad = ~grad_norm.isfinite()
    state.optimizer.grad_scale = (grad_norm / config.train.max_norm).clamp(min=1.0)  # type: ignore[attr-defined]
    state.optimizer.found_inf = bad.float()  # type: ignore[attr-defined]
    state.scaler.step(state.optimizer)
    state.scaler.update()
    state.optimizer.zero_grad()
    return StepResult(losses, grad_norm, bad, digests)


def gradient_digests(model: torch.nn.Module) -> dict[str, str]:
    return {name: tensor_digest(p.grad) for name, p in model.named_parameters() if p.grad is not None}
