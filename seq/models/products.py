"""Matrix products for each of S shards, with the bits that each shard has alone.

A product over the rows of all shards would have other bits, because libraries choose their kernels by the sizes of the matrices. On
CPUs they also choose them by the alignment of the matrices in memory, and, for odd sizes, by the number of matrices in a call. So every
matrix begins at a multiple of 64 bytes, as a tensor of its own would. Only matrices of which all sizes are multiples of 4 are multiplied
in one call, which saves time where they are small; others are multiplied one by one. None of this depends on S. tests/seq/models/test_products.py
and `python -m seq.doctor` compare the bits.
"""

import math
from typing import Any

import torch
from torch import Tensor

LINE = 64
"""Bytes at which the memory of a tensor begins, in torch's allocators."""
EVEN = 4
SMALL, LARGE = 2**12, 2**18
"""A product of up to SMALL multiplications is computed by other kernels, and a matrix of LARGE numbers is not repeated for each shard: the
copies would not fit into a processor's cache."""


def multiply(left: Tensor, right: Tensor, bias: Tensor | None = None, out: Tensor | None = None) -> Tensor:
    """(S, N, K), (S, K, M) [, (S, M)] -> (S, N, M): `left[s] @ right[s] + bias[s]`. The first shard begins at a place in memory that does
    not depend on S; see `aligned`."""
    left, right = aligned(left, base=False), aligned(right, base=False)
    if out is None:
        out = empty(left, left.shape[1], right.shape[2])
    if not _in_one_call(left, right):
        for place, (one, other, to) in enumerate(zip(left, right, out, strict=True)):
            torch.mm(one, other, out=to) if bias is None else torch.addmm(bias[place], one, other, out=to)
    elif bias is None:
        torch.bmm(left, repeated(right), out=out)
    else:
        torch.baddbmm(bias[:, None], left, repeated(right), out=out)
    return out


def add_product(out: Tensor, left: Tensor, right: Tensor) -> None:
    """`out[s] += left[s] @ right[s]`."""
    left, right = aligned(left, base=False), aligned(right, base=False)
    if _in_one_call(left, right):
        out.baddbmm_(left, repeated(right))
    else:
        for one, other, to in zip(left, right, out, strict=True):
            to.addmm_(one, other)


def empty(like: Tensor, *shape: int) -> Tensor:
    """A new tensor (S, *shape), of the type of `like` (S, ...), in which every shard is aligned."""
    line, size = LINE // like.element_size(), math.prod(shape)
    shards = like.shape[0]  # `len` of a tensor takes ten times as long
    return like.new_empty(shards, -(-size // line) * line)[:, :size].view(shards, *shape)


def repeated(weights: Tensor) -> Tensor:
    """`weights` (S, ...) for products in one call. In bf16, those that lie in memory once take a product up to 18 times as long."""
    if weights.dtype == torch.float32 or weights.stride(0) or weights.shape[1] * weights.shape[2] >= LARGE:
        return weights
    return _copied(weights)


def aligned(parts: Tensor, *, base: bool = True) -> Tensor:
    """`parts` (S, ...), or a copy in which every part is aligned. Parts that share their memory are left as they are. `base`: whether the
    first part must be aligned too; it need not if it is a slice that begins at the same place for every S."""
    apart = parts.shape[0] == 1 or parts.stride(0) * parts.element_size() % LINE == 0
    shared = parts.stride(0) == 0 and parts.shape[0] > 1
    if apart and (shared or not base or parts.data_ptr() % LINE == 0):
        return parts
    return _copied(parts)


def _copied(parts: Tensor) -> Tensor:
    """Aligned. A transposed matrix stays one, which also decides about kernels."""
    if parts.stride(-1) != 1 == parts.stride(-2):
        return _copied(parts.mT).mT
    return empty(parts, *parts.shape[1:]).copy_(parts)


def _in_one_call(left: Tensor, right: Tensor) -> bool:
    """On a GPU, it is not known whether a kernel depends on S."""
    rows, (inner, columns) = left.shape[1], right.shape[1:]
    if rows % EVEN or inner % EVEN or columns % EVEN or left.device.type != "cpu":
        return False
    return rows * inner * columns > SMALL and inner * columns < LARGE


def sum_rows(values: Tensor) -> Tensor:
    """(S, N, M) -> (S, M). On a GPU, one call would divide the rows among threads by S."""
    return values.sum(1) if values.device.type == "cpu" else torch.stack([shard.sum(0) for shard in values])


class Affine(torch.autograd.Function):
    """(S, N, I), weight (S, O, I), bias (S, O) or None -> (S, N, O)"""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        inputs = aligned(inputs)
        ctx.save_for_backward(inputs, weight)
        ctx.has_bias = bias is not None
        return multiply(inputs, weight.transpose(1, 2), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight = ctx.saved_tensors
        gradient = aligned(gradients[0].contiguous())
        by_inputs = multiply(gradient, weight) if ctx.needs_input_grad[0] else None
        by_bias = sum_rows(gradient) if ctx.has_bias else None
        return by_inputs, multiply(gradient.transpose(1, 2), inputs), by_bias


class RowProducts(torch.autograd.Function):
    """(S * B, N, K), (S * B, K, M) -> (S * B, N, M): a product for each row, one call for each shard."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, shards: int) -> Tensor:
        ctx.save_for_backward(left, right)
        ctx.shards = shards
        return _for_rows(left, right, shards)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (gradient,), (left, right) = gradients, ctx.saved_tensors
        by_left = _for_rows(gradient, right.transpose(1, 2), ctx.shards)
        return by_left, _for_rows(left.transpose(1, 2), gradient, ctx.shards), None


def _for_rows(left: Tensor, right: Tensor, shards: int) -> Tensor:
    plain = (rows if rows.is_contiguous() or rows.mT.is_contiguous() else rows.contiguous() for rows in (left, right))
    parts = (aligned(rows.view(shards, -1, *rows.shape[1:])) for rows in plain)
    return torch.cat([torch.bmm(*shard) for shard in zip(*parts, strict=True)])
