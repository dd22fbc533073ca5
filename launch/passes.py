"""Several shards in one forward and backward pass, with the bits of each shard on its own.

The first axis of a batch holds S shards of B rows. What a model computes row by row needs no change. Three things belong to a shard:

* the gradient of a parameter: `spread` gives every shard its own copy, and its backward pass adds the shards in the tree;
* matrix products, whose bits depend on their size: one for each shard (`seq.models.products`);
* random numbers: each shard draws its own (`chance`).

Outside of a pass, these functions see one shard, and torch's default generators.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from launch.device import new_generator
from launch.seeding import derive_seed

WORD = 2**16
"""Random numbers are 16 bits wide, so a probability is a multiple of 1 / WORD. To draw 64 bits at once takes a fifth of the time of
`bernoulli_`."""

_generators: dict[torch.device, list[torch.Generator]] = {}
_current: "Pass | None" = None


class Pass:
    """A pass over the shards `shards` of a step, a whole subtree (`launch.tree`)."""

    def __init__(self, shards: range, generators: list[torch.Generator], keep: int | None) -> None:
        self.shards, self.generators, self._keep = shards, generators, keep
        self.kept: dict[Tensor, Tensor] = {}
        """By parameter, the gradients of the shard that was to be kept."""
        self._spread: dict[tuple[int, torch.dtype], list[Tensor]] = {}

    def spread(self, parameters: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
        key, own = (id(parameters[0]), dtype), parameters[0].dtype
        if key not in self._spread:
            if dtype == own:
                found = _Spread.apply(self, *parameters)  # type: ignore[no-untyped-call]
            else:
                found = _Cast.apply(dtype, *self.spread(parameters, own))  # type: ignore[no-untyped-call]
            self._spread[key] = list(found)
        return self._spread[key]

    def keep_of(self, parameters: Iterable[Tensor], gradients: Iterable[Tensor]) -> None:
        """Copy the chosen shard's part of `gradients`, each (S, ...)."""
        if self._keep is not None:
            place = self._keep - self.shards.start
            self.kept |= {own: every[place].clone() for own, every in zip(parameters, gradients, strict=True)}


@contextmanager
def one_pass(seed: int, step: int, shards: range, device: torch.device, keep: int | None = None) -> Iterator[Pass]:
    """While the context is open, the forward pass reads `shards` of `step`. Random numbers are a function of (seed, step, shard). `keep`:
    the shard whose gradients are copied (`Pass.kept`)."""
    global _current
    generators = _generators.setdefault(device, [])
    generators += [new_generator(device) for _ in range(len(shards) - len(generators))]
    for shard, generator in zip(shards, generators, strict=False):
        generator.manual_seed(derive_seed(seed, "pass", step, shard))
    _current = Pass(shards, generators[: len(shards)], keep)
    try:
        yield _current
    finally:
        # The tensors know their autograd nodes, and these know the pass. Python does not see this circle, so would never free it.
        _current._spread.clear()
        _current = None


def in_pass() -> bool:
    return _current is not None


def shards_in_pass() -> int:
    """S; 1 outside of a pass."""
    return 1 if _current is None else len(_current.shards)


def spread(parameters: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """(S, ...): each parameter for each shard, in `dtype`. A parameter is always spread with the same others. All uses in a pass share one
    node of autograd, so the gradient of each shard is complete before shards are added, as it is if each has a pass of its own."""
    if _current is None:
        return [parameter.to(dtype).unsqueeze(0) for parameter in parameters]
    return _current.spread(parameters, dtype)


def chance(shape: tuple[int, ...], probability: float, device: torch.device) -> Tensor:
    """A bool tensor of `shape` (S * B, ...), each element True with this probability."""
    if probability < 1 / WORD:
        return torch.zeros(shape, dtype=torch.bool, device=device)
    shards = shards_in_pass()
    own = math.prod(shape) // shards
    words = torch.empty(shards, -(-own // 4), dtype=torch.int64, device=device)
    for row, generator in zip(words, _current.generators if _current else [None], strict=True):
        row.random_(-(2**63), None, generator=generator)
    largest = round(probability * WORD) - WORD // 2 - 1
    return (words.view(torch.int16)[:, :own] <= largest).view(shape)


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Pass, *parameters: Tensor) -> tuple[Tensor, ...]:
        ctx.own, ctx.parameters = own, parameters
        return tuple(parameter.expand(len(own.shards), *parameter.shape) for parameter in parameters)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        ctx.own.keep_of(ctx.parameters, gradients)
        sums = gradients
        while sums[0].shape[0] > 1:
            sums = torch._foreach_add([each[0::2] for each in sums], [each[1::2] for each in sums])
        return None, *(each[0] for each in sums)


class _Cast(torch.autograd.Function):
    """`to`, which would make a copy for each shard."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *parameters: Tensor) -> tuple[Tensor, ...]:
        ctx.dtype = parameters[0].dtype
        return tuple(each[0].to(dtype).expand_as(each) for each in parameters)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, *(each.to(ctx.dtype) for each in gradients)
