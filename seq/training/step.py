"""One step of training: the gradient of all shards, then the update. `Trainer` is the one place that builds a step."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from launch.collectives import sum_over_ranks, tensor_digest
from launch.lockstep import Lockstep
from launch.passes import one_pass
from launch.seeding import seed_shard
from launch.sparse_gradients import RowGradient, RowReduction
from seq.config import Config
from seq.data.corpus import Corpus
from seq.data.dataset import Batch
from seq.models import LanguageModel, Model, Seq2Seq, row_tables
from seq.tasks import Task
from seq.training.memory import bytes_beside_pass, keep_freed_memory, out_of_memory_as_run_error
from seq.training.objective import Objective
from seq.training.optimizer import lr_at, teacher_forcing_at
from seq.training.pass_gradients import PassGradients
from seq.training.precision import grad_scaler
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

    def figures(self) -> dict[str, float]:
        """The loss of this step, over all its targets, and the norm. Called by every rank."""
        loss = sum_over_ranks(self.shard_losses.clone()).sum()
        return {"step_loss": loss.item(), "grad_norm": self.grad_norm.item()}


class Trainer:
    """Owns model, optimizer and scaler (in `state`), and the reduction of gradients. In each step, call
    `accumulate_gradients`, then `update`."""

    def __init__(self, config: Config, task: Task, corpus: Corpus, device: torch.device) -> None:
        keep_freed_memory()
        self.config, self.device = config, device
        self.state = TrainState.create(config, corpus, device)
        self._lockstep = Lockstep(
            self.state.model,
            shards=config.batch.shards,
            seed=config.run.seed,
            threads=config.run.threads,
            reduction=config.sync.reduction,
            compress=config.sync.compress,
        )
        self._lr, self._objective = config.optimizer.lr, Objective.of(config, task, corpus.splits["train"], device)
        self._parameters, self._tables = list(self.model.named_parameters()), row_tables(self.model)
        self._row_reductions = {name: RowReduction(device, shards=config.batch.shards) for name in self._tables}
        self._num_targets = 0
        self.row_gradients: dict[str, tuple[Tensor, Tensor]] = {}
        """For each table, the rows (N,) that the current step has read, and their gradients (N, dim)."""

    @property
    def model(self) -> Model:
        return self.state.model

    def take_sync_seconds(self) -> float:
        """The time from the end of a backward pass to the sums of all gradients but those of tables, since the last call."""
        return self._lockstep.reduction.timer.take()

    @property
    def sent_bytes(self) -> int:
        """Bytes of gradients that this rank has sent so far."""
        return self._lockstep.reduction.sent_bytes + sum(
            rows.exchange.sent_bytes for rows in self._row_reductions.values()
        )

    def check_memory(self, batch: Batch) -> int:
        """Try a pass with as much memory in use as the rest of a step takes. Nothing changes but the memory that torch reserves. Returns
        the number of bytes held for the rest."""
        with out_of_memory_as_run_error(batch):  # the reserve itself may be too much
            size = bytes_beside_pass(self.model, batch, len(self._lockstep.own), bool(self.config.sync.witness_every))
            beside = torch.empty(size, dtype=torch.uint8, device=self.device)
            self.try_pass(batch)
            del beside
        return size

    def try_pass(self, batch: Batch, model: Model | None = None) -> PassGradients:
        """Forward and backward pass as in a step, by this rank alone; of another `model` if it is given, with the loss scale of a run's
        first step. Nothing changes, but the gradients of a step before are gone."""
        seed = self.config.run.seed
        scaler = self.state.scaler if model is None else grad_scaler(self.config.train.precision, self.device)
        model = model or self.model
        tables = row_tables(model)
        model.zero_grad()
        try:
            seed_shard(seed, batch.step, batch.shards.start)
            with out_of_memory_as_run_error(batch), one_pass(seed, batch.step, batch.shards, self.device):
                losses, state = self._backward(model, batch.to(self.device), scaler)
                rows = {name: table.take_gradient() for name, table in tables.items()}
            dense = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
            return PassGradients(losses, dense, rows, state)
        finally:
            model.zero_grad()
            for table in tables.values():
                table.forget()

    def set_lr(self, step: int, total_steps: int) -> float:
        """Set the learning rate of `step` (from 0), by `optimizer.schedule`, and return it; also the model's teacher forcing."""
        self.use_lr(lr_at(step, total_steps, self.config.optimizer))
        if isinstance(self.model, LanguageModel | Seq2Seq):
            self.model.teacher_forcing = teacher_forcing_at(step, total_steps, self.config.train)
        return self._lr

    def use_lr(self, lr: float) -> None:
        self._lr = lr
        for group in self.state.optimizer.param_groups:
            group["lr"] = lr

    def assign(self, shards: list[range]) -> None:
        """From now on, each rank computes these shards. The ranks tell each other the states that stateful order carries."""
        self.state.carried.assign(shards[dist.get_rank()])
        self._lockstep.assign(shards)
        for rows in self._row_reductions.values():
            rows.assign(shards)

    def accumulate_gradients(self, passes: list[Batch], keep: int | None = None) -> Tensor:
        """Leave the gradient of the whole step in every `grad`, on every rank. Returns the shards' losses (V,). `keep`: the shard that
        `kept` shall hold, if it is one of this rank's.

        A shard's loss is its sum over the number of targets of the *whole* step, so the gradient is the plain sum over
        shards and ranks.
        """
        if self.state.scaler.is_enabled():
            self.state.scaler._per_optimizer_states.clear()  # of an earlier attempt at this step
        losses = torch.zeros(self.config.batch.shards, dtype=torch.float64, device=self.device)
        rows: dict[str, list[RowGradient]] = {name: [] for name in self._tables}
        cut = [batch.shards for batch in passes]
        for (shards, model), batch in zip(self._lockstep.passes(passes[0].step, cut, keep), passes, strict=True):
            with out_of_memory_as_run_error(batch):
                own, last = self._backward(model, batch.to(self.device), self.state.scaler)
            losses[shards.start : shards.stop] = own
            if last is not None:
                self.state.carried.after(batch, last)
            for name, table in self._tables.items():
                rows[name].append(table.take_gradient())
            if keep is not None and keep in shards:
                whole = PassGradients(own, {}, {name: found[-1] for name, found in rows.items()}, last)
                self._kept = whole.only(keep - shards.start)
        self._add_rows(rows)
        self.state.scaler.unscale_(self.state.optimizer)
        self._num_targets = passes[0].num_targets
        return losses

    def _add_rows(self, rows: dict[str, list[RowGradient]]) -> None:
        """Add up the gradients of tables."""
        scale = self.state.scaler.scale(torch.ones((), device=self.device))
        for name, passes in rows.items():
            own = RowGradient(*map(torch.cat, zip(*passes, strict=True)))
            found, values = self._row_reductions[name].sum(own, table_rows=len(self._tables[name].weight))
            self.row_gradients[name] = (found, values / scale)

    def _backward(self, model: nn.Module, batch: Batch, scaler: torch.amp.GradScaler) -> tuple[Tensor, Tensor | None]:
        """The losses (S,), and the state in which the batch ends, in stateful order. A loss that is not finite makes its gradients NaN. The
        sum over ranks is then NaN too, so all ranks notice."""
        losses, hidden = self._objective.losses(model, batch, self.state.carried.before(batch))
        one_or_nan = torch.where(losses.detach().isfinite(), torch.ones_like(losses), torch.nan)
        scaler.scale(losses).backward(one_or_nan)  # type: ignore[no-untyped-call]
        return losses.detach(), None if batch.continues is None else hidden.detach()

    def kept(self) -> PassGradients:
        """The shard that was to be kept, before anything was added to it."""
        copies = self._lockstep.kept
        return replace(self._kept, dense={name: copies[p] for name, p in self._parameters if p in copies})

    def update(self, losses: Tensor) -> StepResult:
        """One step of the optimizer from the gradient of the whole step, or none if that is not finite.

        Both are decided on the device, without waiting for it: the fused optimizer divides gradients by `grad_scale` as it
        reads them, so clipping (Pascanu, Mikolov and Bengio, 2013) needs no pass of its own, and it changes nothing where
        `found_inf` is 1.
        """
        optimizer, scaler = self.state.optimizer, self.state.scaler
        digests = gradient_digests(self.gradients()) if self.config.logging.digests else None
        # Of copies: CUDA adds a norm in another order where memory is not aligned, and a gradient lies elsewhere in DDP's buckets
        # in the first step after each start than later.
        grad_norm = get_total_norm(torch._foreach_add([gradient for _, gradient in self.gradients()], 0.0))
        bad, clip = ~grad_norm.isfinite(), (grad_norm / self.config.train.clip_grad_norm).clamp(min=1.0)
        optimizer.grad_scale = clip  # type: ignore[attr-defined]
        optimizer.found_inf = bad.float()  # type: ignore[attr-defined]
        if scaler.is_enabled():  # it has not seen the tables
            for found in scaler._found_inf_per_device(optimizer).values():
                found.copy_(bad)
        scaler.step(optimizer)
        scaler.update()
        ngram_lr_scale = self._lr * self.config.optimizer.ngram_lr_scale
        for name, (rows, values) in self.row_gradients.items():
            self.state.tables[name].step(rows, values, lr=ngram_lr_scale, divide_by=clip, bad=bad)
        self.state.mean_loss.add(losses, self._num_targets, bad=bad)
        return StepResult(losses, grad_norm, bad, digests)

    def gradients(self) -> list[tuple[str, Tensor]]:
        """(name, gradient) of every parameter, between the two halves of a step; of a table, of the rows that it has read."""
        dense = [(name, p.grad) for name, p in self._parameters if p.grad is not None]
        return dense + [(name, values) for name, (_, values) in self.row_gradients.items()]

    def close(self) -> None:
        """Call this before the process group ends."""
        self._lockstep.close()
        for rows in self._row_reductions.values():
            rows.close()


def gradient_digests(gradients: Iterable[tuple[str, Tensor]]) -> dict[str, str]:
    return {name: tensor_digest(gradient) for name, gradient in gradients}
