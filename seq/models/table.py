"""A table of embeddings of which a batch reads few rows. Its gradient is (rows, values), never a whole table."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class RowTable(nn.Module):
    """`weight` (rows, dim), as `nn.Embedding` has it, but without a `grad`: autograd sees only the rows that were read.

    After a backward pass in training mode, `take_gradient` returns the gradient of these rows.
    """

    def __init__(self, rows: int, dim: int, *, per_token: int) -> None:
        """`per_token`: the rows that one token reads at most."""
        super().__init__()
        self.per_token = per_token
        # Without `requires_grad`, DDP and the optimizer of the other parameters leave it alone.
        self.weight = nn.Parameter(torch.zeros(rows, dim), requires_grad=False)
        self._read: list[tuple[Tensor, Tensor]] = []

    def forward(self, places: Tensor) -> Tensor:
        """`places` (...) row numbers -> (..., dim)."""
        if not (self.training and torch.is_grad_enabled()):
            return functional.embedding(places, self.weight)
        rows, inverse = places.unique(return_inverse=True)  # type: ignore[no-untyped-call]
        values = self.weight[rows].requires_grad_()
        self._read.append((rows, values))
        return functional.embedding(inverse, values)

    def take_gradient(self) -> tuple[Tensor, Tensor]:
        """Rows (N,) and their gradients (N, dim), of all calls since the last one. A row may occur once for each call."""
        read, self._read = self._read, []
        gradients = [values.new_zeros(values.shape) if values.grad is None else values.grad for _, values in read]
        return torch.cat([rows for rows, _ in read]), torch.cat(gradients)
