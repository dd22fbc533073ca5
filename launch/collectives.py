"""Collectives that a run needs. Every rank calls them, and every rank gets the same answer."""

import hashlib
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor


def sum_over_ranks(values: Tensor) -> Tensor:
    """In-place sum of `values` over the ranks.

    If only one rank has a non-zero value at each place, the sum is exact in any order (x + 0 = x). Evaluation relies on
    this to get the same result at every world size.
    """
    dist.all_reduce(values)
    return values


def concatenate_over_ranks(values: Tensor) -> Tensor:
    """`values` (n,) int64 of each rank, one after the other in the order of the ranks; n may differ."""
    rank, sizes = dist.get_rank(), torch.zeros(dist.get_world_size(), dtype=torch.int64, device=values.device)
    sizes[rank] = len(values)
    ends = sum_over_ranks(sizes).cumsum(0).tolist()
    whole = values.new_zeros(ends[-1])
    whole[ends[rank] - len(values) : ends[rank]] = values
    return sum_over_ranks(whole)


def gather_over_ranks(values: Tensor) -> Tensor:
    """(W, ...): the `values` (...) of each rank, which have one shape."""
    table = values.new_zeros(dist.get_world_size(), *values.shape)
    table[dist.get_rank()] = values
    return sum_over_ranks(table)


def gather_text_over_ranks(text: str) -> list[str]:
    """The `text` of each rank."""
    found = [""] * dist.get_world_size()
    dist.all_gather_object(found, text)
    return found


def check_agreement(what: str, value: int, device: torch.device) -> None:
    """Raise RuntimeError unless every rank has the same `value`, which has at most 63 bits."""
    seen = gather_over_ranks(torch.tensor(value, device=device)).tolist()
    if len(set(seen)) > 1:
        raise RuntimeError(
            f"ranks disagree on the {what}: {seen} (by rank); do all nodes have the same files and command?"
        )


def tensor_digest(tensor: Tensor) -> str:
    """16 hex digits of the tensor's bytes. All NaNs count as one: which bits a NaN has depends on the shape of a product."""
    content = one_nan(tensor.detach()).cpu().contiguous().flatten().view(torch.uint8).numpy()
    return hashlib.blake2b(content.tobytes(), digest_size=8).hexdigest()


def one_nan(values: Tensor) -> Tensor:
    """The values, every NaN with the same bits."""
    return torch.where(values.isnan(), torch.nan, values) if values.is_floating_point() else values


def check_ranks_agree(tensors: Iterable[tuple[str, Tensor]], step: int, device: torch.device) -> None:
    """Raise RuntimeError on every rank if the ranks' tensors differ in any bit. The message names the rank, step and tensor.

    All ranks apply the same summed gradients, so only a fault of memory or hardware can make them differ.
    """
    named = list(tensors)
    own = [int(tensor_digest(tensor), 16) >> 1 for _, tensor in named]
    seen = gather_over_ranks(torch.tensor(own, dtype=torch.int64, device=device)).cpu()
    usual = seen.mode(dim=0).values
    for rank, row in enumerate(seen):
        for place in (row != usual).nonzero().flatten().tolist():
            raise RuntimeError(
                f"step {step}: rank {rank} has another {named[place][0]} than the other ranks; its memory, its device "
                "or its software is at fault. Start the run again without this machine; it continues from the newest checkpoint before this step"
            )
