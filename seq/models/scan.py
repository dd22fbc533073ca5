"""A GRU layer for CPUs, over the rows of S shards.

The backward pass of torch's own GRU on a CPU computes every product again, step by step. Here all inputs are multiplied at once, forward
and backward; only the products with the state are computed step by step, for all shards and both directions together. Each time step
takes few operators, because short rows spend most of their time on calls. The equations are those of `nn.GRU`:

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)        z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
    n = tanh(W_in x + b_in + r * (W_hn h + b_hn))     h' = (1 - z) * n + z * h

Padding is computed like everything else. Nothing reads the states there, so their gradients are zero.
"""

from typing import Any

import torch
from torch import Tensor

from seq.models.products import add_product, aligned, empty, multiply, repeated


def scan(inputs: Tensor, hidden: Tensor, weights: list[Tensor]) -> Tensor:
    """The states (G, T, B, H) of G layers that run side by side, from `inputs` (G, T, B, I) and the states `hidden` (G, B, H) before.
    `weights`: W_i (G, 3 H, I), W_h (G, 3 H, H), b_i and b_h (G, 3 H), in the order of `nn.GRU`. All are of one type."""
    states: Tensor = _Scan.apply(inputs, hidden, *weights)  # type: ignore[no-untyped-call]
    return states


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, hidden: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor
    ) -> Tensor:
        (_, times, rows, _), width = inputs.shape, hidden.shape[2]
        inputs, weight_hh = aligned(inputs), aligned(repeated(weight_hh), base=False)
        gates = multiply(inputs.flatten(1, 2), weight_ih.transpose(1, 2), bias_ih).view(-1, times, rows, 3 * width)
        recurrent = empty(inputs, times, rows, 3 * width)
        states, new = empty(inputs, times + 1, rows, width), empty(inputs, times, rows, width)
        states[:, 0] = hidden
        before, states, weight = states[:, :-1], states[:, 1:], weight_hh.transpose(1, 2)
        steps = (tensor.unbind(1) for tensor in (gates, recurrent, before, states, new))
        for gate, own, previous, state, candidate in zip(*steps, strict=True):
            multiply(previous, weight, bias_hh, out=own)
            reset, update = own[:, :, : 2 * width].add_(gate[:, :, : 2 * width]).sigmoid_().split(width, dim=2)
            torch.addcmul(gate[:, :, 2 * width :], reset, own[:, :, 2 * width :], out=candidate).tanh_()
            torch.lerp(candidate, previous, update, out=state)
        ctx.save_for_backward(inputs, before, recurrent, new, weight_ih, weight_hh)
        return states

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        """First the derivative of each gate by the state, for all rows at once; then back in time."""
        inputs, before, recurrent, new, weight_ih, weight_hh = ctx.saved_tensors
        (outer,), width = gradients, new.shape[3]
        reset, update, product = recurrent.split(width, dim=3)
        passed = 1 - update
        by_new = (1 - new * new).mul_(passed)
        # The derivatives of W_h h + b_h by the state, for the three gates.
        factors, inner = (empty(new, *new.shape[1:3], 3, width) for _ in range(2))
        torch.mul(by_new, reset, out=factors[..., 2, :])
        torch.mul(factors[..., 2, :], product, out=factors[..., 0, :]).mul_(1 - reset)
        torch.mul(before - new, update, out=factors[..., 1, :]).mul_(passed)
        flow, running = torch.empty_like(new), empty(new, *new.shape[2:]).zero_()
        steps = (tensor.unbind(1)[::-1] for tensor in (outer, factors, update, inner, flow))
        for out, factor, keep, gate, state in zip(*steps, strict=True):
            torch.add(running, out, out=state)
            torch.mul(factor, state[:, :, None], out=gate)
            torch.mul(state, keep, out=running)
            add_product(running, gate.flatten(2), weight_hh)
        by_gates, rows = inner.flatten(3).flatten(1, 2), inputs.flatten(1, 2)
        turned = by_gates.transpose(1, 2)
        hidden_weight, hidden_bias = multiply(turned, before.flatten(1, 2)), by_gates.sum(1)
        torch.mul(flow, by_new, out=inner[..., 2, :])  # now the gradient of W_i x + b_i
        by_inputs = multiply(by_gates, weight_ih).view_as(inputs)
        return by_inputs, running, multiply(turned, rows), hidden_weight, by_gates.sum(1), hidden_bias
