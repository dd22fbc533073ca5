"""Digests of tensors: equal bits, equal digest. And the check that no rank has drifted away from the others."""

import hashlib
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor

from launch.collectives import sum_over_ranks


def tensor_digest(tensor: Tensor) -> str:
    """16 hex digits of the tensor's bytes."""
    content = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    return hashlib.blake2b(content.tobytes(), digest_size=8).hexdigest()


def check_ranks_agree(tensors: Iterable[tuple[str, Tensor]], step: int, device: torch.device) -> None:
    """RuntimeError, on every rank, that names rank, step and tensor if the ranks' named tensors differ in any bit.

    After a sum over the ranks all have the same gradients, so nothing but a fault (memory, a card) can part them.
    """
    named = list(tensors)
    table = torch.zeros(dist.get_world_size(), len(named), dtype=torch.int64, device=device)
    own = [int(tensor_digest(tensor), 16) >> 1 for _, tensor in named]
    table[dist.get_rank()] = torch.tensor(own, dtype=torch.int64, device=device)
    seen = sum_over_ranks(table).cpu()
    usual = seen.mode(dim=0).values
    for rank, row in enumerate(seen):
        for place in (row != usual).nonzero().flatten().tolist():
            raise RuntimeError(
                f"step {step}: rank {rank} has another {named[place][0]} than the other ranks; its memory, its device "
                "or its software is at fault. The newest checkpoint before this step goes on without it"
            )
