"""Dropout for sequences: of features, with one mask for all time steps, and of whole tokens."""

import torch
from torch import Tensor, nn

from launch.device import to_device

UNKNOWN = 3
"""The token of a character that the vocabulary lacks, the last reserved one; the same as in `seq.data.tokenizer`."""


class LockedDropout(nn.Module):
    """Dropout of whole features: one mask for all time steps of a row (Gal and Ghahramani, 2016)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """`inputs` (B, T, E). A caller that passes one row's steps in several calls gives `mask` (B, 1, E) from `draw`."""
        return inputs * (self.draw(inputs) if mask is None else mask)

    def draw(self, like: Tensor) -> Tensor:
        """A mask (B, 1, E) for rows of the shape of `like` (B, T, E); all ones outside training."""
        return nn.functional.dropout(like.new_ones(like.shape[0], 1, like.shape[2]), self.probability, self.training)


class TokenDropout(nn.Module):
    """In training, each token of text is read as UNKNOWN with this probability, so that the model learns to use all letters of
    a word. Random numbers come from torch's default CPU generator."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, inputs: Tensor) -> Tensor:
        """`inputs` (B, T) token ids; padding and markers stay."""
        if not self.training or self.probability == 0:
            return inputs
        dropped = to_device(torch.rand(inputs.shape) < self.probability, inputs.device)
        return inputs.masked_fill(dropped & (inputs > UNKNOWN), UNKNOWN)
