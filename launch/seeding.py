"""Randomness as a function of (seed, step, shard): no generator state to save, none that depends on the rank."""

import hashlib

import torch


def derive_seed(*key: int | str) -> int:
    """A 63-bit seed from a key such as (seed, "dropout", step, shard). Unlike a sum or a product of small integers,
    a hash gives unrelated streams for neighbouring keys."""
    text = "/".join(map(str, key))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def seed_shard(seed: int, step: int, shard: int) -> None:
    """Seed torch's default generators, on every device, for one shard of one step."""
    torch.manual_seed(derive_seed(seed, "shard", step, shard))
