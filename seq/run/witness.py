"""Every `sync.witness_every` steps, a second rank computes one shard too (`launch.vote`). A device that computes wrongly is found before
any weight changes."""

import socket
from collections.abc import Callable
from typing import NoReturn

import torch
from torch import Tensor

from launch.collectives import gather_text_over_ranks, sum_over_ranks
from launch.device import device_name
from launch.tree import passes_of, share
from launch.vote import Digests, Roles, Verdict, exchange, judge, roles_of
from seq.data.dataset import Batch
from seq.data.loader import BatchLoader
from seq.errors import CorruptionError, RunError
from seq.models import build_model
from seq.run.result import make_result
from seq.run.run import Run
from seq.training.pass_gradients import PassGradients
from seq.training.step import Trainer

ATTEMPTS = 3
"""A step is computed at most this often with `sync.on_corruption=continue`. Then the run ends."""


class Witness:
    """Use its `accumulate_gradients` instead of the trainer's. `log`: `Logger.event`."""

    def __init__(self, run: Run, trainer: Trainer, batches: BatchLoader, log: Callable[..., None]) -> None:
        self._run, self._trainer, self._batches, self._log = run, trainer, batches, log
        self._rank, self._sync = run.process.rank, run.config.sync
        self._usual = share(run.process.world_size, run.config.batch.shards)
        if self._sync.witness_every:
            device = f"{device_name(run.device)} {run.process.local_rank}"
            self._where = gather_text_over_ranks(f"rank {self._rank} (host {socket.gethostname()}, {device})")
            self._names, self._known = self._first_shard()
            self._check_devices()

    def accumulate_gradients(self, passes: list[Batch]) -> Tensor:
        """As `Trainer.accumulate_gradients`. If a device computed wrongly, the step is computed again, or the run ends with exit code 3."""
        step, shards, carried = passes[0].step, self._usual, self._trainer.state.carried
        if not self._sync.witness_every or (step + 1) % self._sync.witness_every:
            return self._trainer.accumulate_gradients(passes)
        before = carried.gather()
        for _ in range(ATTEMPTS):
            carried.load(before)
            roles = roles_of(self._run.config.run.seed, step, shards)
            losses, (owner, witness) = self._watched(passes, roles)
            if owner == witness:
                return losses if shards == self._usual else self._back_to_usual(losses, shards[self._rank])
            carried.load(before)
            verdict = self._verdict(step, roles, owner, witness)
            if self._sync.on_corruption == "stop" or verdict.repeated or not verdict.certain:
                break
            shards = share(len(shards), len(losses), without=verdict.ranks)
            self._trainer.assign(shards)
            passes = self._passes(step, shards[self._rank])
        self._end(step + 1, verdict)

    def _watched(self, passes: list[Batch], roles: Roles) -> tuple[Tensor, list[Digests]]:
        """Compute a step. Returns the losses (V,), and what owner and witness of the chosen shard found."""
        found = dict[int, Digests]()
        if self._rank == roles.witness:  # first, because it clears the gradients
            found[1] = self._alone(passes[0].step, roles.shard)
        losses = self._trainer.accumulate_gradients(passes, keep=roles.shard)
        if self._rank == roles.owner:
            found[0] = self._digests(self._trainer.kept())
        return losses, self._exchange(found, 2)

    def _passes(self, step: int, own: range) -> list[Batch]:
        """A rank without shards takes part in the exchange too. What it sends is ignored."""
        cuts = passes_of(own or range(1), self._batches.sampler.most_in_pass)
        return [self._batches.batch_of(step, cut) for cut in cuts]

    def _verdict(self, step: int, roles: Roles, owner: Digests, witness: Digests) -> Verdict:
        """Owner, witness and a third rank compute the shard again. If that is a draw, all compute the shard whose digests are known."""
        again = {place: self._alone(step, roles.shard) for place, rank in enumerate(roles.asked) if rank == self._rank}
        votes = [owner, witness, *self._exchange(again, len(roles.asked))]
        verdict = judge([roles.owner, roles.witness, *roles.asked], votes)
        if not verdict.certain and len(wrong := self._wrong_now()) == 1:
            verdict = Verdict(wrong, certain=True, repeated=True)
        differing = [name for name, *own in zip(self._names, owner, witness, strict=True) if own[0] != own[1]]
        about = verdict._asdict() | {
            "where": self._name(verdict),
            "shard": roles.shard,
            "tensors": ", ".join(differing),
        }
        self._log("corruption", step + 1, **about)
        return verdict

    def _back_to_usual(self, losses: Tensor, computed: range) -> Tensor:
        """The losses of the shards that this rank usually computes, and their carried states, which other ranks may have computed."""
        self._trainer.assign(self._usual)
        return _only(sum_over_ranks(_only(losses, computed)), self._usual[self._rank])

    def _alone(self, step: int, shard: int) -> Digests:
        return self._digests(self._trainer.try_pass(self._batches.batch_of(step, range(shard, shard + 1))))

    def _digests(self, gradients: PassGradients) -> Digests:
        return _numbers(gradients.digests(), self._names)

    def _exchange(self, found: dict[int, Digests], places: int) -> list[Digests]:
        return exchange(found, (places, len(self._names)), self._run.device)

    def _first_shard(self) -> tuple[list[str], Digests]:
        """Names and digests of the first shard's gradients with the weights that follow from the seed. They never change."""
        corpus, config = self._run.corpus, self._run.config
        model = build_model(config, vocab_size=corpus.tokenizer.vocab_size, num_outputs=corpus.outputs.size)
        batch = self._batches.batch_of(0, range(1))
        digests = self._trainer.try_pass(batch, model.to(self._run.device)).digests()
        names = sorted(digests)
        return names, _numbers(digests, names)

    def _wrong_now(self) -> list[int]:
        """The ranks whose first shard has other bits than when the run started."""
        found = self._exchange({self._rank: self._first_shard()[1]}, len(self._usual))
        return [rank for rank, digests in enumerate(found) if digests != self._known]

    def _check_devices(self) -> None:
        """RunError if the ranks do not compute the same bits from the beginning."""
        groups: dict[Digests, list[str]] = {}
        for rank, digests in enumerate(self._exchange({self._rank: self._known}, len(self._usual))):
            groups.setdefault(digests, []).append(self._where[rank])
        if len(groups) == 1:
            return
        if not self._run.is_main:
            raise SystemExit(RunError.code)
        kinds = "; ".join(", ".join(group) for group in groups.values())
        raise RunError(
            f"the devices compute the first shard with different bits: {kinds}. Use machines with the same processors and software, or "
            "find the one at fault with python -m seq.doctor; sync.witness_every=0 trains without this comparison"
        )

    def _name(self, verdict: Verdict) -> str:
        return (" and " if verdict.certain else " or ").join(self._where[rank] for rank in verdict.ranks)

    def _end(self, step: int, verdict: Verdict) -> NoReturn:
        """Rank 0 writes the result, without an evaluation, and raises CorruptionError. The others end after it, with the same exit code."""
        epoch = step / self._batches.steps_per_epoch
        result = make_result(self._run, self._trainer.state, None, "validation", epoch, "corruption")
        if self._run.is_main:
            self._run.directory.write_result(result | {"status": "corrupted"})
        # The ranks meet: a launcher may kill those that are left as soon as one has ended.
        sum_over_ranks(torch.zeros(1, device=self._run.device))
        if not self._run.is_main:
            raise SystemExit(CorruptionError.code)
        device = "this machine" if verdict.certain else "these machines"
        again = "It did so twice, so the steps before may be wrong too. " if verdict.repeated else ""
        raise CorruptionError(
            f"step {step}: {self._name(verdict)} computed wrongly: a shard that was computed twice had other bits. The step "
            f"changed no weight. {again}Start the run again without {device} (for SLURM, --exclude=HOST); it goes on from the newest "
            "checkpoint (docs/silent-corruption.md)"
        )


def _only(losses: Tensor, shards: range) -> Tensor:
    """(V,): those of these shards, and else 0."""
    found = torch.zeros_like(losses)
    found[shards.start : shards.stop] = losses[shards.start : shards.stop]
    return found


def _numbers(digests: dict[str, str], names: list[str]) -> Digests:
    """In one order on all ranks."""
    return tuple(int(digests[name], 16) >> 1 for name in names)
