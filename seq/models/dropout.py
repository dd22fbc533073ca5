"""Dropout for sequences: of features, the same for all time steps, and of whole tokens."""

import torch
from torch import Tensor, nn

UNKNOWN = 3
"""The token of a character that the vocabulary lacks, the last of the reserved ones: as in `seq.data.tokenizer`."""


class LockedDropout(nn.Module):
    """Dropout of whole features: one mask for all time steps of a row (Gal and Ghahramani, 2016)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """`inputs` (B, T, E); `mask` (B, 1, E), from `draw`, for a caller that has one row's steps in several calls."""
        return inputs * (self.draw(inputs) if mask is None else mask)

    def draw(self, like: Tensor) -> Tensor:
        """A mask (B, 1, E) for rows such as `like` (B, T, E); ones outside training."""
        return nn.functional.dropout(like.new_ones(like.shape[0], 1, like.shape[2]), self.probability, self.training)


class TokenDropout(nn.Module):
    """In training, each token of text is read as UNKNOWN with this probability: a word is to be told by all its letters.
    Draws come from torch's default CPU generator."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, inputs: Tensor) -> Tensor:
        """`inputs` (B, T) token ids; padding and markers stay."""
        if not self.training or self.probability == 0:
            return inputs
        dropped = (torch.rand(inputs.shape) < self.probability).to(inputs.device)
        return inputs.masked_fill(dropped & (inputs > UNKNOWN), UNKNOWN)
