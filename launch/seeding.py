"""Randomness as a function of (seed, step, shard): no generator state to save, none that depends on the rank.
And the switches that make arithmetic repeatable."""

import hashlib
import os
from typing import Any

import torch


def derive_seed(*key: int | str) -> int:
    """A 63-bit seed from a key such as (seed, "dropout", step, shard). Unlike a sum or a product of small integers,
    a hash gives unrelated streams for neighbouring keys."""
    text = "/".join(map(str, key))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def seed_shard(seed: int, step: int, shard: int) -> None:
    """Seed torch's default generators, of the CPU and of this process's GPU, for one shard of one step."""
    derived = derive_seed(seed, "shard", step, shard)
    # `torch.manual_seed` also formats a stack trace for a GPU that may start later, a hundred times the cost of seeding.
    torch.default_generator.manual_seed(derived)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed(derived)


def fix_arithmetic(*, threads: int, deterministic: bool, tf32: bool = False, fast_fp32: bool = False) -> None:
    """The number of CPU threads, in code: torchrun and the user's shell set it differently. With `deterministic`, what
    CUDA needs to repeat itself; call it before CUDA starts, which is when cuBLAS reads its variable. `tf32`: products
    of 10-bit mantissas on the GPU. `fast_fp32`: products by oneDNN on the CPU, see `fast_fp32_error`."""
    torch.set_num_threads(threads)
    _onednn().fp32_precision = "bf16" if fast_fp32 else "none"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    if not deterministic:
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    torch.use_deterministic_algorithms(True)
    # Filling fresh memory with NaN is a debugging aid, and costs a pass over each new tensor.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


def fast_fp32_error() -> float:
    """Largest error of a product of oneDNN's fast path, relative to the largest value, against fp64.

    torch calls the path `bf16`: on a processor with bf16 matrix units (AMX) the products really are of 8-bit mantissas;
    elsewhere oneDNN computes them in full fp32, faster than torch's default library does.
    """
    before, _onednn().fp32_precision = _onednn().fp32_precision, "bf16"
    try:
        generator = torch.Generator().manual_seed(0)
        left, right = (torch.randn(256, 256, generator=generator) for _ in range(2))
        exact = left.double() @ right.double()
        return float(((left @ right).double() - exact).abs().max() / exact.abs().max())
    finally:
        _onednn().fp32_precision = before


def _onednn() -> Any:
    """Its settings of matrix products; torch's annotations do not know them."""
    return torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
