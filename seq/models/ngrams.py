"""Tables of hashed n-grams beside the GRU. A table learns quickly what a few neighbouring tokens say; a GRU learns it slowly.

A few letters often tell the origin of a name ("-ski", "O'", "ette"): class logits of n-grams are the linear part of a
wide and deep model (Cheng and others, 2016). The next letter depends mostly on the last few letters: embeddings of the
n-grams that end at a position (Pagnoni and others, 2024, for bytes) leave longer dependencies to the GRU. N-grams are
hashed into buckets (Weinberger and others, 2009), so a table does not grow with the data.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from launch.device import to_device
from launch.passes import shards_in_pass
from launch.sparse_gradients import RowGradient
from seq.models.layers import Dropout, Linear

MOST_COLUMNS = 128
"""A table for more classes has as many columns as this, from which a matrix makes the logits (as in fastText: Joulin and others, 2017)."""
MULTIPLIER, MODULUS = 1103515245, 2**31 - 1
"""A polynomial hash: the tokens are the digits of a number modulo a prime."""


class RowTable(nn.Module):
    """A table of embeddings of which a batch reads few rows. It gives weighted sums of rows, as `nn.EmbeddingBag` does. `weight` (rows, dim)
    has no `grad`, since that would be as large as the table: autograd sees only the sums.

    After a backward pass in training mode, and before `launch.passes.one_pass` ends, `take_gradient` returns the gradient of `weight`.
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

    def forget(self) -> None:
        """Drop what was read."""
        self._read = []

    def take_gradient(self) -> RowGradient:
        """Return the gradient of all calls in the current pass."""
        read, self._read = self._read, []
        found = [
            (rows, factors, torch.zeros_like(sums) if sums.grad is None else sums.grad) for rows, factors, sums in read
        ]
        each = (
            [part.reshape(shards_in_pass(), -1, part.shape[-1]) for part in parts] for parts in zip(*found, strict=True)
        )
        return RowGradient(*(torch.cat(parts, dim=1) for parts in each))


def hash_longer(hashed: Tensor, token: Tensor) -> Tensor:
    """The hash of n-grams that are longer by one `token`. The products stay below 2^62, so nothing overflows, and programs
    that run the exported model find the same buckets."""
    return (hashed * MULTIPLIER + token).remainder(MODULUS)


class NgramLogits(nn.Module):
    """One logit for each class and n-gram of 1 to `orders` tokens. A text's logits are added and divided by sqrt(length). In
    training each is left out with probability `dropout`."""

    def __init__(self, vocab_size: int, num_labels: int, *, orders: int, buckets: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.sizes = [vocab_size] + [buckets] * (orders - 1)
        columns = min(num_labels, MOST_COLUMNS)
        self.table = RowTable(sum(self.sizes), columns, per_token=orders)
        self.output = Linear(columns, num_labels, bias=False) if columns < num_labels else nn.Identity()

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """`inputs` (B, T) token ids, `lengths` (B,) on the CPU -> logits (B, num_labels)."""
        lengths = to_device(lengths, inputs.device)[:, None]
        ends = torch.arange(inputs.shape[1], device=inputs.device) + 1  # the end of a 1-gram that begins in this column
        padded = nn.functional.pad(inputs, (0, len(self.sizes) - 1))
        hashed, offset = torch.zeros_like(inputs), 0
        places, inside = [], []
        for before, size in enumerate(self.sizes):
            hashed = hash_longer(hashed, padded[:, before : before + inputs.shape[1]])
            bucket = inputs if before == 0 else hashed.remainder(size)
            places.append(bucket + offset)
            inside.append(ends + before <= lengths)
            offset += size
        chosen = torch.stack(inside, dim=2)
        kept = self.dropout(chosen.to(self.table.weight.dtype))
        logits = self.table(torch.stack(places, dim=2).where(chosen, 0), kept)
        total: Tensor = self.output(logits.sum(1) / lengths.sqrt())
        return total


class NgramEmbedding(nn.Module):
    """The sum of the embeddings of the n-grams of 2 to `orders` tokens that end at a position. In training each is left
    out with probability `dropout`, so that rare n-grams are not memorised."""

    def __init__(self, dim: int, *, orders: int, buckets: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.reach, self.buckets, self.dropout = orders - 1, buckets, Dropout(dropout)
        self.table = RowTable(self.reach * buckets, dim, per_token=self.reach)
        nn.init.normal_(self.table.weight, std=0.1)

    def forward(self, inputs: Tensor, preceding: Tensor) -> Tensor:
        """`inputs` (B, T) token ids, and the tokens before them `preceding` (B, reach) -> (B, T, dim)."""
        tokens = torch.cat([preceding, inputs], dim=1)
        hashed, places = inputs, []
        for back in range(1, self.reach + 1):
            hashed = hash_longer(hashed, tokens[:, self.reach - back : tokens.shape[1] - back])
            places.append(hashed.remainder(self.buckets) + (back - 1) * self.buckets)
        kept = self.dropout(self.table.weight.new_ones(*inputs.shape, self.reach))
        embedded: Tensor = self.table(torch.stack(places, dim=2), kept)
        return embedded
