"""Randomness as a function of (seed, step, shard), with no generator state to save and none that depends on the rank;
and the switches that make arithmetic repeatable."""

import hashlib
import os
import platform
from typing import Any

import torch

from launch.device import gpu_count, seed_gpu


def derive_seed(*key: int | str) -> int:
    """A 63-bit seed from a key such as (seed, "shard", step, shard). A hash gives unrelated streams for neighbouring
    keys; a sum or product of small integers does not."""
    text = "/".join(map(str, key))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def seed_shard(seed: int, step: int, shard: int) -> None:
    """Seed torch's default generators, of the CPU and of this process's GPU, for one shard of one step; for a pass of several, by the first."""
    derived = derive_seed(seed, "shard", step, shard)
    # `torch.manual_seed` also formats a stack trace in case a GPU starts later, which costs 100 times as much as seeding.
    torch.default_generator.manual_seed(derived)
    seed_gpu(derived)


def set_numerics(*, threads: int, deterministic: bool, tf32: bool = False, fast_fp32: bool = False) -> None:
    """Set the number of CPU threads, which torchrun and the user's shell set differently; with `deterministic`, also what
    CUDA needs to give the same bits again. Call it before CUDA starts, because cuBLAS reads its variable then. `tf32`:
    products with 10-bit mantissas on the GPU. `fast_fp32`: products by oneDNN on the CPU, see `fast_fp32_error`."""
    torch.set_num_threads(threads)
    _onednn().fp32_precision = "bf16" if fast_fp32 else "none"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    if not deterministic:
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # Filling new memory with NaN is a debugging aid that costs a pass over each new tensor.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


def fast_fp32_error() -> float:
    """Largest error of a matrix product on oneDNN's fast path, against fp64, relative to the largest value.

    torch calls this path `bf16`. On a processor with bf16 matrix units (AMX) the products really have 8-bit mantissas;
    elsewhere oneDNN computes them in full fp32, faster than torch's default library.
    """
    before, _onednn().fp32_precision = _onednn().fp32_precision, "bf16"
    try:
        generator = torch.Generator().manual_seed(0)
        left, right = (torch.randn(256, 256, generator=generator) for _ in range(2))
        exact = left.double() @ right.double()
        return float(((left @ right).double() - exact).abs().max() / exact.abs().max())
    finally:
        _onednn().fp32_precision = before


def imitates_bf16() -> bool:
    """Return whether this machine emulates bf16 without instructions for it, tens of times slower than fp32. On processors other than
    x86 this is not known, and the result is False."""
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return x86 and not gpu_count() and not torch.cpu._is_avx512_bf16_supported()


def _onednn() -> Any:
    """oneDNN's settings for matrix products, which torch's annotations lack."""
    return torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
