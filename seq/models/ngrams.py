"""Class logits from the n-grams of a text: the linear part of a wide and deep model (Cheng and others, 2016).

A short text is often told by a few letters ("-ski", "O'", "ette"), which a linear model of n-grams learns at once and
a GRU slowly. N-grams are hashed into buckets (Weinberger and others, 2009), so the table does not grow with the data.
"""

import torch
from torch import Tensor, nn

MULTIPLIER, MODULUS = 1103515245, 2**31 - 1
"""Of a polynomial hash: the tokens are the digits of a number, taken modulo a prime."""


class NgramLogits(nn.Module):
    """One logit a class for each n-gram of 1 to `orders` tokens; those of a text are added, over sqrt(length)."""

    def __init__(self, vocab_size: int, num_labels: int, *, orders: int, buckets: int) -> None:
        super().__init__()
        self.sizes = [vocab_size] + [buckets] * (orders - 1)
        self.table = nn.Embedding(sum(self.sizes), num_labels)
        nn.init.zeros_(self.table.weight)

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """`inputs` (B, T) token ids, `lengths` (B,) on the CPU -> logits (B, num_labels)."""
        lengths = lengths.to(inputs.device)[:, None]
        ends = torch.arange(inputs.shape[1], device=inputs.device) + 1  # of an n-gram that begins in this column
        hashed, offset = torch.zeros_like(inputs), 0
        places, inside = [], []
        for before, size in enumerate(self.sizes):
            # Tokens further on are shifted in from the right. The products stay below 2^62: nothing wraps around, so
            # that other programs, which the model is exported to, find the same buckets.
            shifted = nn.functional.pad(inputs, (0, before))[:, before:]
            hashed = (hashed * MULTIPLIER + shifted).remainder(MODULUS)
            bucket = inputs if before == 0 else hashed.remainder(size)
            places.append(bucket + offset)
            inside.append(ends + before <= lengths)
            offset += size
        chosen = torch.cat(inside, dim=1)
        logits = self.table(torch.cat(places, dim=1).where(chosen, 0)) * chosen[:, :, None]
        total: Tensor = logits.sum(1) / lengths.sqrt()
        return total
