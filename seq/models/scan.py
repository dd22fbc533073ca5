"""A GRU layer as a linear-time scan over packed rows, for CPUs.

The backward pass of `nn.GRU` over packed input fills a gradient of full size at each step, so its cost grows with the
square of the length. Here all inputs are multiplied at once, forward and backward; only the products with the state are
computed step by step, on the rows that have not ended, for both directions together. Each time step takes few operators,
because short rows spend most of their time on calls. The equations are those of `nn.GRU`:

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)        z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
    n = tanh(W_in x + b_in + r * (W_hn h + b_hn))     h' = (1 - z) * n + z * h
"""

from typing import Any

import torch
from torch import Tensor


def scan(inputs: Tensor, hidden: Tensor, sizes: list[int], weights: list[list[Tensor]]) -> Tensor:
    """States (D, N, H) of one layer with D directions. `inputs` (D, N, I): packed by time, `sizes[t]` rows run at step t, the
    first of those at step t - 1; the backward direction has its rows reversed. `hidden` (D, B, H); `weights`: for each
    direction W_i, W_h, b_i, b_h as `nn.GRU` has them. All are of one type."""
    states: Tensor = _Scan.apply(inputs, hidden, sizes, *(tensor for direction in weights for tensor in direction))  # type: ignore[no-untyped-call]
    return states


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, hidden: Tensor, sizes: list[int], *weights: Tensor) -> Tensor:
        width, shape = hidden.shape[2], inputs.shape[:2]
        gates, recurrent = (inputs.new_empty(*shape, 3 * width) for _ in range(2))
        states, before, new = (inputs.new_empty(*shape, width) for _ in range(3))
        directions = [weights[number : number + 4] for number in range(0, len(weights), 4)]
        for number, (weight_ih, _, bias_ih, _) in enumerate(directions):
            torch.addmm(bias_ih, inputs[number], weight_ih.t(), out=gates[number])
        steps = [_split(tensor, sizes) for tensor in (gates, recurrent, states, before, new)]
        products = [(bias_hh, weight_hh.t()) for _, weight_hh, _, bias_hh in directions]
        for gate, own, state, previous, candidate in zip(*steps, strict=True):
            previous.copy_(hidden[:, : previous.shape[1]])
            for number, (bias, weight) in enumerate(products):
                torch.addmm(bias, previous[number], weight, out=own[number])
            reset, update = own[:, :, : 2 * width].add_(gate[:, :, : 2 * width]).sigmoid_().split(width, dim=2)
            torch.addcmul(gate[:, :, 2 * width :], reset, own[:, :, 2 * width :], out=candidate).tanh_()
            hidden = torch.lerp(candidate, previous, update, out=state)
        ctx.save_for_backward(inputs, before, recurrent, new, *weights)
        ctx.sizes, ctx.rows = sizes, hidden.shape[1] if not sizes else sizes[0]
        return states

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """First the derivative of each gate by the state, for all rows at once; then back in time."""
        inputs, before, recurrent, new, *weights = ctx.saved_tensors
        (outer,), width = gradients, new.shape[2]
        reset, update, product = recurrent.split(width, dim=2)
        by_new = (1 - new * new).mul_(1 - update)
        # The derivatives of W_h h + b_h by the state, for the three gates.
        factors = new.new_empty(*new.shape[:2], 3, width)
        torch.mul(by_new, reset, out=factors[:, :, 2])
        torch.mul(factors[:, :, 2], product, out=factors[:, :, 0]).mul_(1 - reset)
        torch.mul(before - new, update, out=factors[:, :, 1]).mul_(1 - update)
        inner, flow = torch.empty_like(factors), torch.empty_like(new)
        flowing = new.new_zeros(new.shape[0], ctx.rows, width)
        recurrences = weights[1::4]
        steps = [_split(tensor, ctx.sizes) for tensor in (outer, factors, update, inner, flow)]
        for out, factor, keep, gate, state in zip(*(step[::-1] for step in steps), strict=True):
            running = flowing[:, : out.shape[1]]
            torch.add(running, out, out=state)
            torch.mul(factor, state[:, :, None], out=gate)
            torch.mul(state, keep, out=running)
            for number, weight in enumerate(recurrences):
                running[number].addmm_(gate[number].flatten(1), weight)
        by_state = inner.flatten(2)
        found: list[Tensor] = []
        by_inputs = torch.empty_like(inputs)
        for number, weight_ih in enumerate(weights[0::4]):
            hidden_gradient = [by_state[number].t() @ before[number], by_state[number].sum(0)]
            torch.mul(flow[number], by_new[number], out=inner[number, :, 2])  # now the gradient of the gates
            by_gates = by_state[number]
            torch.mm(by_gates, weight_ih, out=by_inputs[number])
            found += [by_gates.t() @ inputs[number], hidden_gradient[0], by_gates.sum(0), hidden_gradient[1]]
        return by_inputs, flowing, None, *found


def _split(tensor: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
    """(D, N, ...) -> a view for each time step, made in one call."""
    parts: tuple[Tensor, ...] = tensor.split(sizes, dim=1)  # type: ignore[no-untyped-call]
    return parts
