"""A GRU layer as a linear-time scan over packed rows, for CPUs.

The backward pass of `nn.GRU` over packed input fills a gradient of full size at each step, so its cost grows with the
square of the length. Here all inputs are multiplied at once, forward and backward; only the products with the state are
computed step by step, on the rows that have not ended. The equations are those of `nn.GRU`:

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)        z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
    n = tanh(W_in x + b_in + r * (W_hn h + b_hn))     h' = (1 - z) * n + z * h
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear


def scan(inputs: Tensor, hidden: Tensor, sizes: list[int], weights: list[Tensor]) -> Tensor:
    """States (N, H) of one layer in one direction. `inputs` (N, I): packed by time, `sizes[t]` rows run at step t, the
    first of those at step t - 1; `hidden` (B, H); `weights`: W_i, W_h, b_i, b_h as `nn.GRU` has them."""
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    gates = linear(inputs, weight_ih, bias_ih)
    # Under autocast the gates have the lower precision; the other tensors follow them.
    rest = (tensor.to(gates.dtype) for tensor in (hidden, weight_hh, bias_hh))
    states: Tensor = _Scan.apply(gates, *rest, sizes)  # type: ignore[no-untyped-call]
    return states


class _Scan(torch.autograd.Function):
    """`gates` (N, 3H): the rows' input parts, W_i x + b_i."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor, sizes: list[int]) -> Tensor:
        width, start = weight.shape[1], 0
        states, before, new, product = (gates.new_empty(len(gates), width) for _ in range(4))
        both = gates.new_empty(len(gates), 2 * width)  # reset and update
        recurrent, transposed = gates.new_empty(len(hidden), 3 * width), weight.t()
        for size in sizes:
            now = slice(start, start + size)
            hidden = before[now].copy_(hidden[:size])
            own = torch.addmm(bias, hidden, transposed, out=recurrent[:size])
            torch.add(gates[now, : 2 * width], own[:, : 2 * width], out=both[now]).sigmoid_()
            product[now] = own[:, 2 * width :]
            torch.addcmul(gates[now, 2 * width :], both[now, :width], product[now], out=new[now]).tanh_()
            hidden = torch.lerp(new[now], hidden, both[now, width:], out=states[now])
            start += size
        ctx.save_for_backward(weight, before, both, new, product)
        ctx.sizes = sizes
        return states

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """First the derivative of each gate by the state, for all rows at once; then back in time."""
        weight, before, both, new, product = ctx.saved_tensors
        (outer,), width = gradients, weight.shape[1]
        reset, update = both[:, :width], both[:, width:]
        keep = 1 - update
        by_new = (1 - new * new).mul_(keep)
        by_update = (before - new).mul_(update).mul_(keep)
        by_reset = product * reset * (1 - reset)  # per unit of the new gate's
        inner = new.new_empty(len(new), 3 * width)  # gradient of W_h h + b_h
        through_new = torch.empty_like(new)
        flowing, stop = new.new_zeros(ctx.sizes[0], width), len(new)
        for size in reversed(ctx.sizes):
            now = slice(stop - size, stop)
            state = flowing[:size].add_(outer[now])
            torch.mul(state, by_new[now], out=through_new[now])
            torch.mul(through_new[now], by_reset[now], out=inner[now, :width])
            torch.mul(state, by_update[now], out=inner[now, width : 2 * width])
            torch.mul(through_new[now], reset[now], out=inner[now, 2 * width :])
            state.mul_(update[now]).addmm_(inner[now], weight)
            stop -= size
        weight_gradient, bias_gradient = inner.t() @ before, inner.sum(0)
        inner[:, 2 * width :] = through_new  # now the gradient of the gates
        return inner, flowing, weight_gradient, bias_gradient, None
