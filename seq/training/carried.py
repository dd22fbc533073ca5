"""The state that stream order carries from one step to the next. It belongs to the shard, not to the rank."""

import torch
from torch import Tensor

from launch.collectives import sum_over_ranks
from seq.config import Config
from seq.data.dataset import Batch


class CarriedState:
    """`hidden` (V, L, B, H): for each shard, where its B texts are; no texts in bucketed order. A rank knows those of
    its own shards; `gather`, called by every rank, is what a checkpoint keeps."""

    def __init__(self, config: Config, device: torch.device) -> None:
        stream, model = config.batch.order == "stream", config.model
        rows = config.batch.rows if stream else 0
        self.hidden = torch.zeros(config.batch.shards, model.num_layers, rows, model.hidden_size, device=device)
        self._own = torch.zeros(config.batch.shards, dtype=torch.bool, device=device)

    def before(self, batch: Batch) -> Tensor | None:
        """The state (L, B, H) in which the batch begins, zeros for texts that begin with it; None in bucketed order."""
        if batch.continues is None:
            return None
        return torch.where(batch.continues[:, None], self.hidden[batch.shard], 0)

    def after(self, batch: Batch, last: Tensor) -> None:
        """Keep the state in which the batch ends, detached: gradients end there. After a bad step, it begins anew."""
        if batch.continues is not None:
            self.hidden[batch.shard] = last.detach().nan_to_num()
            self._own[batch.shard] = True

    def gather(self) -> Tensor:
        """(V, L, B, H) of all shards, on every rank: each adds its own to the others' zeros."""
        if self.hidden.numel() == 0:
            return self.hidden
        return sum_over_ranks(torch.where(self._own[:, None, None, None], self.hidden, 0))

    def load(self, hidden: Tensor) -> None:
        self.hidden.copy_(hidden)
