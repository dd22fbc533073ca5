"""Randomness as a function of (seed, step, shard): no generator state to save, none that depends on the rank.
And the switches that make arithmetic repeatable."""

import hashlib
import os

import torch


def derive_seed(*key: int | str) -> int:
    """A 63-bit seed from a key such as (seed, "dropout", step, shard). Unlike a sum or a product of small integers,
    a hash gives unrelated streams for neighbouring keys."""
    text = "/".join(map(str, key))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def seed_shard(seed: int, step: int, shard: int) -> None:
    """Seed torch's default generators, on every device, for one shard of one step."""
    torch.manual_seed(derive_seed(seed, "shard", step, shard))


def fix_arithmetic(*, threads: int, deterministic: bool) -> None:
    """The number of CPU threads, in code: torchrun and the user's shell set it differently. With `deterministic`, what
    CUDA needs to repeat itself; call it before CUDA starts, which is when cuBLAS reads its variable."""
    torch.set_num_threads(threads)
    if not deterministic:
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    torch.use_deterministic_algorithms(True)
    # Filling fresh memory with NaN is a debugging aid, and costs a pass over each new tensor.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
