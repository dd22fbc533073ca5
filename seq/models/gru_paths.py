"""The ways to run a GRU layer over rows of uneven length: equal results at different speeds.

Each takes the weights of each direction, `inputs` (S * B, T, I), the first states `hidden` (D, S * B, H) and the rows' `Ends`, and returns
the states (S * B, T, D * H), undefined after a row's end, and the last valid states (D, S * B, H). The backward direction is a forward
direction over turned rows, so it reads each row from its own end.
"""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from launch.device import to_device
from launch.passes import in_pass
from seq.models.products import aligned
from seq.models.scan import scan

Layer = list[list[Tensor]]
"""For each direction W_i, W_h, b_i, b_h, as `nn.GRU` has them, for each shard: (S, ...)."""

OPTIONS = (True, 1, 0.0)
"""Arguments of `torch.gru`: with biases, one layer, no dropout of its own."""

# cuDNN wants the weights of a layer in one block. Those of one direction, or cast to bf16, are copied into one in each call.
warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")


class Ends(NamedTuple):
    """Where the rows end. Indices are made on the CPU, where the lengths are, and then copied: a GPU would have to be waited for."""

    lengths: Tensor
    """(S * B,) on the CPU."""
    last: Tensor
    """(S * B, 1, 1) the last step of each row."""
    turned: Tensor | None
    """(S * B * T,) for two directions: the steps of each row from its end to its beginning, as places in (S * B, T); padding stays in
    place."""

    @classmethod
    def of(cls, inputs: Tensor, lengths: Tensor, *, directions: int) -> Self:
        """`inputs` (S * B, T, I), `lengths` (S * B,) on the CPU."""
        ends, steps = (lengths - 1)[:, None, None], torch.arange(inputs.shape[1])[:, None]
        last = to_device(ends, inputs.device)
        if directions == 1:
            return cls(lengths, last, None)
        rows = torch.arange(lengths.shape[0])[:, None, None] * inputs.shape[1]
        turned = (torch.where(steps <= ends, ends - steps, steps) + rows).flatten()
        return cls(lengths, last, to_device(turned, inputs.device))

    def both_ways(self, inputs: Tensor) -> list[Tensor]:
        """(S * B, T, I) as each direction reads it."""
        return [inputs] if self.turned is None else [inputs, _turn(inputs, self.turned)]

    def joined(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """(D, S * B, T, H), in the order in which each direction reads -> (S * B, T, D * H) in the order of the inputs, and the last valid
        states (D, S * B, H)."""
        last: Tensor = _AtEnds.apply(states, self.last)  # type: ignore[no-untyped-call]
        if self.turned is None:
            return states[0], last
        return torch.cat([states[0], _turn(states[1], self.turned)], dim=2), last


def choose_path(device: torch.device) -> str:
    """It depends on the kind of device alone, never on a clock, because the path changes the last bits. On a GPU, packed rows
    lose cuDNN's persistent kernels, and take several times as long as the padding (pytorch#149194)."""
    return "scan" if device.type == "cpu" else "dense"


def run_scan(layer: Layer, inputs: Tensor, hidden: Tensor, ends: Ends) -> tuple[Tensor, Tensor]:
    """All shards and both directions side by side, in time linear in the length, for CPUs; see `seq.models.scan`."""
    directions, shards = len(layer), len(layer[0][0])
    groups, (rows, times, _) = directions * shards, inputs.shape
    # (D, S * B, T, I) -> (D * S, T, B, I)
    ways = ends.both_ways(inputs)
    read = ways[0] if directions == 1 else torch.cat(ways)
    read = read.reshape(groups, -1, times, inputs.shape[2]).transpose(1, 2).contiguous()
    weights = layer[0] if directions == 1 else [torch.cat(parts) for parts in zip(*layer, strict=True)]
    states = scan(read, hidden.reshape(groups, -1, hidden.shape[2]), weights)
    return ends.joined(states.transpose(1, 2).reshape(directions, rows, times, -1))


def run_dense(layer: Layer, inputs: Tensor, hidden: Tensor, ends: Ends) -> tuple[Tensor, Tensor]:
    """Padding is computed and ignored. cuDNN is called for each shard and direction, because it adds the gradients of all rows of a call."""
    found, shards = list[Tensor](), len(layer[0][0])
    for weights, read, first in zip(layer, ends.both_ways(inputs), hidden, strict=True):
        rows, starts = (_parts_of(values.contiguous(), shards) for values in (read, first))
        # cuDNN keeps what the backward pass needs only in its training mode.
        states = [
            torch.gru(own_rows, start[None], own, *OPTIONS, torch.is_grad_enabled(), False, True)[0]
            for own, own_rows, start in zip(_by_shard(weights), rows, starts, strict=True)
        ]
        found.append(torch.cat([_OwnGradient.apply(own) for own in states]))  # type: ignore[no-untyped-call]
    return ends.joined(torch.stack(found))


def run_packed(layer: Layer, inputs: Tensor, hidden: Tensor, ends: Ends) -> tuple[Tensor, Tensor]:
    """Rows as `pack_padded_sequence` packs them, shard by shard."""
    shards = len(layer[0][0])
    weights = _by_shard([weight for direction in layer for weight in direction])
    each = zip(weights, inputs.chunk(shards), hidden.chunk(shards, dim=1), ends.lengths.chunk(shards), strict=True)
    states, last = zip(*(_packed(*shard, both=len(layer) == 2) for shard in each), strict=True)
    return torch.cat(states), torch.cat(last, dim=1)


def _packed(
    weights: list[Tensor], inputs: Tensor, hidden: Tensor, lengths: Tensor, *, both: bool
) -> tuple[Tensor, Tensor]:
    """One shard. `pad_packed_sequence` is given no indices: it would copy them to the host."""
    order = lengths.argsort(descending=True, stable=True)
    there, back = to_device(order, inputs.device), to_device(order.argsort(), inputs.device)
    data, sizes, *_ = pack_padded_sequence(inputs.index_select(0, there), lengths[order], batch_first=True)
    data, last = _packed_layer(data, sizes, hidden.index_select(1, there), weights, both=both)
    states, _ = pad_packed_sequence(PackedSequence(data, sizes), batch_first=True, total_length=inputs.shape[1])
    return states.index_select(0, back), last.index_select(1, back)


def _packed_layer(
    data: Tensor, sizes: Tensor, initial: Tensor, weights: list[Tensor], *, both: bool
) -> tuple[Tensor, Tensor]:
    """One layer on rows as `pack_padded_sequence` packs them."""
    return torch.gru(data, sizes, initial, weights, *OPTIONS, torch.is_grad_enabled(), both)


def _parts_of(values: Tensor, shards: int) -> list[Tensor]:
    """(S * B, ...) -> the part of each shard, aligned."""
    if not in_pass():  # then there is one shard, and an exporter would take sizes for constants
        return [values]
    return list(aligned(values.view(shards, -1, *values.shape[1:])))


def _by_shard(weights: list[Tensor]) -> list[list[Tensor]]:
    """(S, ...) of each weight -> the weights of each shard."""
    return [list(own) for own in zip(*(weight.unbind(0) for weight in weights), strict=True)]


def _turn(values: Tensor, turned: Tensor) -> Tensor:
    """(S * B, T, N) in the order of `Ends.turned`."""
    if not torch.is_grad_enabled():
        return _reordered(values, turned)
    found: Tensor = _Turn.apply(values, turned)  # type: ignore[no-untyped-call]
    return found


def _reordered(values: Tensor, places: Tensor) -> Tensor:
    rows, times, width = values.shape
    return values.reshape(rows * times, width).index_select(0, places).view(rows, times, width)


class _OwnGradient(torch.autograd.Function):
    """Changes nothing. The gradient of a shard, a part of that of all, gets memory of its own, which is aligned."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        return values

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        return gradients[0].clone(memory_format=torch.contiguous_format)


class _AtEnds(torch.autograd.Function):
    """(D, S * B, T, H) -> (D, S * B, H). A mask gives the gradient, since CUDA's deterministic scattering takes 64 launches."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, last: Tensor) -> Tensor:
        ctx.save_for_backward(last)
        ctx.times = states.shape[2]
        return states.gather(2, last.expand(states.shape[0], -1, -1, states.shape[3]))[:, :, 0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (last,) = ctx.saved_tensors
        outside = torch.arange(ctx.times, device=last.device)[:, None] != last
        return gradients[0][:, :, None].expand(-1, -1, ctx.times, -1).masked_fill(outside, 0), None


class _Turn(torch.autograd.Function):
    """To turn twice changes nothing, so the gradient is turned as well. torch's own backward pass would add zeros."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, turned: Tensor) -> Tensor:
        ctx.save_for_backward(turned)
        return _reordered(values, turned)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _reordered(gradients[0], *ctx.saved_tensors), None


Path = Callable[[Layer, Tensor, Tensor, Ends], tuple[Tensor, Tensor]]
PATHS: dict[str, Path] = {"dense": run_dense, "packed": run_packed, "scan": run_scan}
