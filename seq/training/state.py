"""The state of training: a step reads and changes it, and a checkpoint holds all of it. Nothing here depends on the rank."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from launch.collectives import sum_over_ranks
from launch.tree import shards_of
from seq.config import Config
from seq.data.corpus import Corpus
from seq.data.dataset import Batch
from seq.data.plan import ShardSizes
from seq.models import Model, build_model, row_tables
from seq.training.optimizer import RowAdamW, make_optimizer
from seq.training.precision import grad_scaler
from seq.training.selection import Selection


@dataclass
class TrainState:
    model: Model
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    tables: dict[str, RowAdamW]
    """The optimizer of each row-sparse table, by the name of its weight."""
    selection: Selection
    progress: "Progress"
    carried: "CarriedState"
    mean_loss: "MeanLoss"

    @classmethod
    def create(cls, config: Config, corpus: Corpus, device: torch.device) -> "TrainState":
        """The state before the first step."""
        sizes = {"vocab_size": corpus.tokenizer.vocab_size, "num_outputs": corpus.outputs.size}
        model = build_model(config, **sizes).to(device)
        average = build_model(config, **sizes).to(device) if config.train.average_last else None
        optimizer = make_optimizer(model, config.optimizer)
        scaler = grad_scaler(config.train.precision, device)
        tables = {name: RowAdamW(table.weight, config.optimizer) for name, table in row_tables(model).items()}
        selection = Selection(config, model, average)
        carried, mean_loss = CarriedState(config, model), MeanLoss(config.batch.shards, device)
        return cls(model, optimizer, scaler, tables, selection, Progress(), carried, mean_loss)

    def state_dict(self) -> dict[str, Any]:
        """Called by every rank, because each has the carried states and the losses of its own shards only."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "tables": {name: table.state_dict() for name, table in self.tables.items()},
            "selection": self.selection.state_dict(),
            "progress": asdict(self.progress),
            "carried": self.carried.gather(),
            "mean_loss": self.mean_loss.gather(),
        }

    def weights(self) -> dict[str, Any]:
        """Only the weights that a trained model needs, in the form of a checkpoint."""
        used = {"model": self.selection.model.state_dict(), "selection": {"average": None}}
        return used | {"progress": asdict(self.progress)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        for name, table in self.tables.items():
            table.load_state_dict(state["tables"][name])
        self.selection.load_state_dict(state["selection"])
        vars(self.progress).update(state["progress"])
        self.carried.load(state["carried"])
        self.mean_loss.load(state["mean_loss"])


@dataclass(kw_only=True)
class Progress:
    """Counts of whole steps. Data order and randomness follow from (seed, step), so nothing else need be saved."""

    step: int = 0
    """Steps done."""
    tokens_seen: int = 0
    """Time steps of all sequences so far, without padding."""
    padded_tokens: int = 0
    """The same with padding."""
    examples_seen: int = 0
    imbalance_sum: float = 0.0
    """Sum over steps of (most tokens in a shard) / (mean over the shards) - 1."""
    bad_steps: int = 0
    """Steps whose loss or gradient was not finite; they changed nothing."""
    bad_in_a_row: int = 0
    overflow_steps: int = 0
    """Steps for which fp16's loss scale was too high; they changed nothing either."""

    def advance(self, sizes: ShardSizes) -> None:
        """One step further."""
        tokens = int(sizes.tokens.sum())
        self.step += 1
        self.tokens_seen += tokens
        self.padded_tokens += sizes.padded_tokens * len(sizes.tokens)
        self.examples_seen += int(sizes.examples.sum())
        self.imbalance_sum += int(sizes.tokens.max()) * len(sizes.tokens) / tokens - 1

    def figures(self) -> dict[str, float]:
        """Counts, the share of padding in the tokens computed, and the mean imbalance."""
        return {
            "tokens_seen": self.tokens_seen,
            "examples_seen": self.examples_seen,
            "padding_fraction": 1 - self.tokens_seen / max(1, self.padded_tokens),
            "imbalance": self.imbalance_sum / max(1, self.step),
            "bad_steps": self.bad_steps,
            "overflow_steps": self.overflow_steps,
        }


class CarriedState:
    """The GRU states that stateful order carries from one step to the next. They belong to the shards, not to the ranks.

    `hidden` (V, L, B, state_size): the state of each of a shard's B texts; B is 0 in bucketed order. A rank knows the states of its
    own shards; a checkpoint keeps what `gather` returns.
    """

    def __init__(self, config: Config, model: Model) -> None:
        rows, like = config.batch.rows if config.batch.order == "stateful" else 0, model.embedding.weight
        self.hidden = torch.stack([model.gru.initial(like, rows)] * config.batch.shards)
        self._own = torch.zeros(config.batch.shards, dtype=torch.bool, device=like.device)
        self._set_own(shards_of(dist.get_rank(), dist.get_world_size(), config.batch.shards))

    def before(self, batch: Batch) -> Tensor | None:
        """The state (L, S * B, H) in which the batch begins, zeros for rows that do not continue; None in bucketed order."""
        if batch.continues is None:
            return None
        return torch.where(batch.continues[:, None], self._of(batch).transpose(0, 1).flatten(1, 2), 0)

    def after(self, batch: Batch, last: Tensor) -> None:
        """Keep the state in which the batch ends; gradients stop there. A bad step's state becomes zero."""
        own = self._of(batch)
        own.copy_(last.nan_to_num().view_as(own.transpose(0, 1)).transpose(0, 1))

    def _of(self, batch: Batch) -> Tensor:
        return self.hidden[batch.shards.start : batch.shards.stop]

    def gather(self) -> Tensor:
        """(V, L, B, H) of all shards. Called by every rank: each adds its own states to the others' zeros."""
        if self.hidden.numel() == 0:
            return self.hidden
        return sum_over_ranks(torch.where(self._own[:, None, None, None], self.hidden, 0))

    def load(self, hidden: Tensor) -> None:
        self.hidden.copy_(hidden)

    def assign(self, own: range) -> None:
        """From now on, this rank computes these shards."""
        self.load(self.gather())
        self._set_own(own)

    def _set_own(self, own: range) -> None:
        self._own.zero_()
        self._own[own.start : own.stop] = True


class MeanLoss:
    """The mean loss over the targets of all steps since the last call of `take`, without bad steps. The loss of one step says little,
    since its texts have nearly one length.

    `sums` (V + 1,): the sum of each shard's losses, and the number of targets. They belong to the shards: a rank knows those of its
    own shards, so they are equal at every world size.
    """

    def __init__(self, shards: int, device: torch.device) -> None:
        self._sums = torch.zeros(shards + 1, dtype=torch.float64, device=device)
        self._own = torch.zeros(shards + 1, dtype=torch.bool, device=device)
        own = shards_of(dist.get_rank(), dist.get_world_size(), shards)
        self._own[own.start : own.stop] = True
        self._own[-1] = 0 in own

    def add(self, losses: Tensor, targets: int, *, bad: Tensor) -> None:
        """One step. `losses` (V,): of each shard, over the step's number of `targets`; 0 for those of other ranks."""
        step = nn.functional.pad(losses, (0, 1), value=1.0) * targets
        self._sums += torch.where(self._own & ~bad, step, 0)

    def take(self) -> float:
        """The mean, on every rank; it then begins anew. NaN if there was no step."""
        sums = self.gather()
        self._sums.zero_()
        return float(sums[:-1].sum() / sums[-1])

    def gather(self) -> Tensor:
        """The sums of all shards. Called by every rank: each adds its own to the others' zeros."""
        return sum_over_ranks(self._sums.clone())

    def load(self, sums: Tensor) -> None:
        self._sums.copy_(torch.where(self._own, sums.to(self._sums), 0))
