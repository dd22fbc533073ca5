"""Functions of torch whose names differ between the releases that lockstep supports, 2.11 to 2.14."""

import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup


def all_gather_tensor(received: Tensor, sent: Tensor, group: ProcessGroup | None) -> None:
    """Fill `received` (W * n, ...) with `sent` (n, ...) of every rank. Before torch 2.13, `all_gather_single` has another name."""
    gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
    gather(received, sent, group=group)
