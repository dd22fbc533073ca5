"""The few collectives that a run needs. Each is called by every rank, and gives every rank the same answer."""

import torch
import torch.distributed as dist
from torch import Tensor


def sum_over_ranks(values: Tensor) -> Tensor:
    """In-place sum of `values` over the ranks.

    Where each element is non-zero on one rank alone, the sum is exact whatever the order (x + 0 = x): evaluation
    relies on it to be the same at every world size.
    """
    dist.all_reduce(values)
    return values


def check_agreement(what: str, value: int, device: torch.device) -> None:
    """RuntimeError unless every rank has the same `value`, of 63 bits at most."""
    values = torch.zeros(dist.get_world_size(), dtype=torch.int64, device=device)
    values[dist.get_rank()] = value
    seen = sum_over_ranks(values).tolist()
    if len(set(seen)) > 1:
        raise RuntimeError(
            f"ranks disagree on the {what}: {seen} (by rank); do all nodes have the same files and command?"
        )
