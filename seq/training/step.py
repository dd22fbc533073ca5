"""One step of training: the gradient of all shards, then the update. `Trainer` is the one place that builds a step."""

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import get_total_norm

from launch.allreduce import PlainReduction
from launch.collectives import tensor_digest
from launch.lockstep import OrderedReduction
from launch.seeding import seed_shard
from seq.config import Config
from seq.data.corpus import Corpus
from seq.data.dataset import Batch
from seq.models import Model
from seq.training.memory import explaining_out_of_memory
from seq.training.objective import shard_loss
from seq.training.optimizer import lr_at
from seq.training.state import TrainState


@dataclass(frozen=True)
class StepResult:
    shard_losses: Tensor
    """(V,) float64: the loss of each shard; 0 for those of other ranks. Their sum over shards and ranks is the loss."""
    grad_norm: Tensor
    """Norm of the whole gradient before clipping."""
    bad: Tensor
    """True if loss or gradient are not finite: no weight was changed. The same on every rank."""
    digests: dict[str, str] | None
    """Digest of each parameter's gradient before clipping; None unless `logging.digests`."""


class Trainer:
    """Owns model, optimizer and scaler (in `state`), DDP, and the reduction of gradients. In each step, call
    `accumulate_gradients`, then `update`."""

    def __init__(self, config: Config, corpus: Corpus, device: torch.device) -> None:
        self.config, self.device = config, device
        self.state = TrainState.create(config, corpus, device)
        self._ddp = DistributedDataParallel(self.state.model, gradient_as_bucket_view=True)
        self._reduction: OrderedReduction | PlainReduction
        if config.sync.reduction == "ordered":
            self._reduction = OrderedReduction(self._ddp)
        else:
            self._reduction = PlainReduction(self._ddp, compress=config.sync.compress)

    @property
    def model(self) -> Model:
        return self.state.model

    @property
    def waited(self) -> float:
        """Seconds for which this rank waited for the others' gradients, in the last step."""
        return self._reduction.waited

    def warm_up(self, batch: Batch) -> None:
        """Forward and backward pass on one batch, as a trial. It changes nothing but the memory that is reserved."""
        with explaining_out_of_memory(batch):
            loss, _ = shard_loss(self.model, batch.to(self.device), None, self.config.train.precision)
            loss.backward()  # type: ignore[no-untyped-call]
        self.model.zero_grad()

    def set_lr(self, step: int, total_steps: int) -> float:
        """Set the learning rate of `step` (from 0), by `optimizer.schedule`, and return it."""
        lr = lr_at(step, total_steps, self.config.optimizer)
        for group in self.state.optimizer.param_groups:
            group["lr"] = lr
        return lr

    def accumulate_gradients(self, shards: list[Batch]) -> Tensor:
        """Leave the gradient of the whole step in every `grad`, on every rank. Returns the shards' losses (V,).

        A shard's loss is its sum over the number of targets of the *whole* step, so the gradient is the plain sum over
        shards and ranks. The ranks add their gradients once, during the last shard; `no_sync` keeps the earlier ones local.
        """
        losses = torch.zeros(self.config.batch.shards, dtype=torch.float64, device=self.device)
        for number, batch in enumerate((shard.to(self.device) for shard in shards), 1):
            last = number == len(shards)
            with explaining_out_of_memory(batch), nullcontext() if last else self._ddp.no_sync():
                losses[batch.shard] = self._backward(batch)
            if not last:
                self._reduction.push()
        self._reduction.finish()
        self.state.scaler.unscale_(self.state.optimizer)
        return losses

    def _backward(self, batch: Batch) -> Tensor:
        """A loss that is not finite makes its gradients NaN, and so the sum over ranks, which tells all ranks."""
        seed_shard(self.config.run.seed, batch.step, batch.shard)
        before = self.state.carried.before(batch)
        loss, hidden = shard_loss(self._ddp, batch, before, self.config.train.precision)
        self.state.carried.after(batch, hidden)
        one_or_nan = torch.where(loss.detach().isfinite(), torch.ones_like(loss), torch.nan)
        self.state.scaler.scale(loss).backward(one_or_nan)  # type: ignore[no-untyped-call]
        return loss.detach()

    def update(self, losses: Tensor) -> StepResult:
        """One step of the optimizer from the gradient of the whole step, or none if that is not finite.

        Both are decided on the device, without waiting for it: the fused optimizer divides gradients by `grad_scale` as it
        reads them, so clipping (Pascanu, Mikolov and Bengio, 2013) needs no pass of its own, and it changes nothing where
        `found_inf` is 1.
        """
        optimizer, scaler = self.state.optimizer, self.state.scaler
        digests = gradient_digests(self.model) if self.config.logging.digests else None
        grad_norm = get_total_norm(p.grad for p in self.model.parameters() if p.grad is not None)
        bad = ~grad_norm.isfinite()
        optimizer.grad_scale = (grad_norm / self.config.train.max_norm).clamp(min=1.0)  # type: ignore[attr-defined]
        optimizer.found_inf = bad.float()  # type: ignore[attr-defined]
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        return StepResult(losses, grad_norm, bad, digests)

    def close(self) -> None:
        """Call this before the process group ends."""
        self._reduction.close()


def gradient_digests(model: nn.Module) -> dict[str, str]:
    return {name: tensor_digest(p.grad) for name, p in model.named_parameters() if p.grad is not None}
