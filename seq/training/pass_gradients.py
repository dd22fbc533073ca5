"""What the shards of a pass give to a step: their losses and gradients, and in stateful order the state in which they end."""

from dataclasses import dataclass

import torch
from torch import Tensor

from launch.collectives import tensor_digest
from launch.sparse_gradients import RowGradient


@dataclass(frozen=True)
class PassGradients:
    losses: Tensor
    """(S,)"""
    dense: dict[str, Tensor]
    """The sum over the shards, for each parameter."""
    tables: dict[str, RowGradient]
    state: Tensor | None
    """(L, S * B, H); None in bucketed order."""

    def add(self, other: "PassGradients") -> "PassGradients":
        """As a step adds the passes of neighbours."""
        dense = {name: gradient + other.dense[name] for name, gradient in self.dense.items()}
        tables = {
            name: RowGradient(*map(torch.cat, zip(own, other.tables[name], strict=True)))
            for name, own in self.tables.items()
        }
        state = None
        if self.state is not None and other.state is not None:
            state = torch.cat([self.state, other.state], dim=1)
        return PassGradients(torch.cat([self.losses, other.losses]), dense, tables, state)

    def only(self, place: int) -> "PassGradients":
        """One of the shards, without the gradients of parameters, which have been added up."""
        tables = {
            name: RowGradient(*(part[place : place + 1] for part in table)) for name, table in self.tables.items()
        }
        state = None if self.state is None else self.state.chunk(len(self.losses), dim=1)[place]
        return PassGradients(self.losses[place : place + 1], {}, tables, state)

    def named(self) -> dict[str, Tensor]:
        parts = {
            f"{name} ({part})": own for name, table in self.tables.items() for part, own in table._asdict().items()
        }
        state = {} if self.state is None else {"the state": self.state}
        return {"the loss": self.losses} | state | self.dense | parts

    def digests(self) -> dict[str, str]:
        """A digest of each tensor, by its name."""
        return {name: tensor_digest(values) for name, values in self.named().items()}

    def differences(self, other: "PassGradients") -> list[str]:
        """The names of tensors with other bits."""
        others = other.digests()
        return [name for name, digest in self.digests().items() if digest != others[name]]
