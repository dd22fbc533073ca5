"""A table of embeddings of which a batch reads few rows. Its gradient names those rows; it is never a whole table."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from launch.sparse_gradients import RowGradient


class RowTable(nn.Module):
    """Weighted sums of rows, as `nn.EmbeddingBag` has them. `weight` (rows, dim) has no `grad`: autograd sees only the sums.

    After a backward pass in training mode, `take_gradient` returns what `weight` has to know of it.
    """

    def __init__(self, rows: int, dim: int, *, per_token: int) -> None:
        """`per_token`: the rows in one sum. A shard asks for at most one sum a token."""
        super().__init__()
        self.per_token = per_token
        # Without `requires_grad`, DDP and the optimizer of the other parameters leave it alone.
        self.weight = nn.Parameter(torch.zeros(rows, dim), requires_grad=False)
        self._read: list[tuple[Tensor, Tensor, Tensor]] = []

    def forward(self, places: Tensor, factors: Tensor) -> Tensor:
        """`places` (..., per_token) row numbers, and `factors` of the same shape -> (..., dim)."""
        # Not `embedding_bag`: in ONNX it becomes a loop over all tokens.
        sums = (functional.embedding(places, self.weight) * factors[..., None]).sum(-2)
        if self.training and torch.is_grad_enabled():
            self._read.append((places, factors, sums.requires_grad_()))
        return sums

    def take_gradient(self) -> RowGradient:
        """Return the gradient of all calls since the last one."""
        read, self._read = self._read, []
        found = [
            (rows, factors, torch.zeros_like(sums) if sums.grad is None else sums.grad) for rows, factors, sums in read
        ]
        return RowGradient(*(torch.cat([part.flatten(0, -2) for part in parts]) for parts in zip(*found, strict=True)))
