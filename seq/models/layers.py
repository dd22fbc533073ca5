"""Layers that know the shards of a pass (`launch.passes`). Their rows are those of S shards, one after another; outside of a pass, S is 1,
and products are torch's own."""

from typing import Any

import torch
from torch import Tensor, nn

from launch.passes import chance, in_pass, shards_in_pass, spread
from seq.models.products import Affine, RowProducts

UNKNOWN = 3
"""The token of a character that the vocabulary lacks, the last reserved one; the same as in `seq.data.tokenizer`."""


class Linear(nn.Linear):
    def forward(self, inputs: Tensor) -> Tensor:
        """(S * B, ..., in_features) -> (S * B, ..., out_features), in autocast's type."""
        if not in_pass():
            return super().forward(inputs)
        dtype = _product_type(inputs)
        (weight,) = spread([self.weight], dtype)
        bias = None if self.bias is None else spread([self.bias], dtype)[0]
        rows = inputs.to(dtype).reshape(len(weight), -1, self.in_features)
        outputs: Tensor = Affine.apply(rows, weight, bias)  # type: ignore[no-untyped-call]
        return outputs.reshape(*inputs.shape[:-1], self.out_features)


class Embedding(nn.Embedding):
    def forward(self, input: Tensor) -> Tensor:  # as torch calls it
        """(S * B, ...) token ids -> (S * B, ..., embedding_dim)"""
        if not in_pass():
            return super().forward(input)
        (weight,) = spread([self.weight], self.weight.dtype)
        found: Tensor = _Lookup.apply(weight, input.reshape(len(weight), -1), self.padding_idx)  # type: ignore[no-untyped-call]
        return found.view(*input.shape, self.embedding_dim)


class _Lookup(torch.autograd.Function):
    """(S, V, E), (S, N) -> (S, N, E)"""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, tokens: Tensor, padding: int | None) -> Tensor:
        ctx.save_for_backward(tokens)
        ctx.size, ctx.padding = weight.shape[1], -1 if padding is None else padding
        return weight[0].index_select(0, tokens.flatten()).view(*tokens.shape, -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (tokens,), add = ctx.saved_tensors, torch.ops.aten.embedding_dense_backward
        each = zip(gradients[0], tokens, strict=True)
        return torch.stack([add(own, read, ctx.size, ctx.padding, False) for own, read in each]), None, None


def multiply_rows(left: Tensor, right: Tensor) -> Tensor:
    """(S * B, N, K), (S * B, K, M) -> (S * B, N, M), a product for each row, as `torch.bmm`."""
    if not in_pass():
        return torch.bmm(left, right)
    dtype = _product_type(left)
    products: Tensor = RowProducts.apply(left.to(dtype), right.to(dtype), shards_in_pass())  # type: ignore[no-untyped-call]
    return products


def _product_type(inputs: Tensor) -> torch.dtype:
    kind = inputs.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else inputs.dtype


class Dropout(nn.Dropout):
    def forward(self, inputs: Tensor) -> Tensor:
        """(S * B, ...)"""
        if not self.training or self.p == 0:
            return inputs
        return inputs * dropout_mask(inputs.shape, self.p, inputs)


class LockedDropout(nn.Module):
    """Dropout of whole features: one mask for all time steps of a row (Gal and Ghahramani, 2016)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """`inputs` (S * B, T, E). A caller that passes one row's steps in several calls gives `mask` from `draw`."""
        mask = self.draw(inputs) if mask is None else mask
        return inputs if mask is None else inputs * mask

    def draw(self, like: Tensor) -> Tensor | None:
        """A mask (S * B, 1, E) for rows of the shape of `like` (S * B, T, E); None if nothing is dropped."""
        if not self.training or self.probability == 0:
            return None
        return dropout_mask((like.shape[0], 1, like.shape[2]), self.probability, like)


class TokenDropout(nn.Module):
    """In training, each token of text is read as UNKNOWN with this probability, so that the model learns to use all letters of
    a word."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, inputs: Tensor) -> Tensor:
        """`inputs` (S * B, T) token ids; padding and markers stay."""
        if not self.training or self.probability == 0:
            return inputs
        dropped = chance(inputs.shape, self.probability, inputs.device)
        return inputs.masked_fill(dropped & (inputs > UNKNOWN), UNKNOWN)


def dropout_mask(shape: tuple[int, ...], probability: float, like: Tensor) -> Tensor:
    """(S * B, ...), of the type of `like`: 0 with this probability, else such that the mean is 1."""
    return chance(shape, 1 - probability, like.device).to(like.dtype).div_(1 - probability)
