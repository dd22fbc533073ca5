"""Memory: what a step needs, and an error with advice where a batch does not fit."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from seq.config import Config
from seq.data.dataset import Batch
from seq.errors import RunError
from seq.models import Classifier, Model, row_tables

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of glibc's `mallopt`, from its malloc.h."""

OUT_OF_MEMORY = ("can't allocate memory", "STATUS_ALLOC_FAILED", "ALLOCATION_FAILED", "CUDA error: out of memory")
"""Texts by which out-of-memory RuntimeErrors of torch's CPU allocator, cuBLAS, cuDNN and CUDA are recognised."""


def keep_freed_memory() -> None:
    """Let glibc keep memory that is freed, for the next step. Else it gives large blocks back to the system, which hands them
    out again page by page, filled with zeros; with large batches this takes a good part of a step."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)


@contextmanager
def out_of_memory_as_run_error(batch: Batch) -> Iterator[None]:
    """RunError that names the shards if their pass does not fit into memory."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if not _is_out_of_memory(error):
            raise
        rows, steps = batch.inputs.shape
        first, last = batch.shards[0], batch.shards[-1]
        shards, advice = f"shard {first}", f"lower batch.tokens (to less than {rows * steps}) or batch.rows"
        if first != last:
            shards, advice = f"shards {first} to {last}", "lower run.pass_tokens, which changes no bit of the run"
        raise RunError(
            f"out of memory on {batch.inputs.device} in {shards} of step {batch.step + 1}: {rows} rows x {steps} time steps; {advice}, "
            f"or for long sequences data.max_length ({' '.join(str(error).split())[:120]})"
        ) from None


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(text in str(error) for text in OUT_OF_MEMORY)


def bytes_beside_pass(model: Model, batch: Batch, own_shards: int, witnessed: bool) -> int:
    """Return the bytes that a step needs beside weights, DDP's buckets and one pass: AdamW's two averages, the copies for the norm, the
    partial sums of a rank's shards, and the row gradients of all shards. `witnessed`: for `sync.witness_every` also the copy of a shard's
    gradients, and the model of the first step with its own."""
    dense = sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)
    tokens = len(batch.sizes.tokens) * batch.sizes.padded_tokens
    rows = sum(tokens * 4 * table.per_token * (table.weight.shape[1] + 3) for table in row_tables(model).values())
    return dense * (3 + own_shards.bit_length() + 3 * witnessed) + 3 * rows


def bytes_for_parameters(model: Model) -> int:
    """Weight, gradient and AdamW's two averages, in fp32; of row-sparse tables, weight, average, and a number for each row."""
    dense = sum(parameter.numel() * 16 for parameter in model.parameters() if parameter.requires_grad)
    return dense + sum(8 * table.weight.numel() + 8 * len(table.weight) for table in row_tables(model).values())


def estimated_bytes_for_pass(model: Model, config: Config, batch: Batch) -> int:
    """Memory of a forward and backward pass on a CPU. The scan keeps about 11 numbers a unit for the backward pass
    (docs/performance.md); logits are kept twice; each shard has a gradient; of tables, every rank adds up the rows of all shards."""
    shards = len(batch.shards)
    tokens, dense = batch.sizes.padded_tokens * shards, sum(p.nbytes for p in model.parameters() if p.requires_grad)
    units = config.model.num_layers * model.gru.directions * model.gru.hidden_size
    classes = 0 if isinstance(model, Classifier) else model.output.out_features
    rows = sum(table.per_token * table.weight.shape[1] for table in row_tables(model).values())
    kept = 4 * (11 * units + 2 * config.model.embedding_dim) + 8 * classes
    return tokens * kept + shards * dense + batch.sizes.padded_tokens * config.batch.shards * 8 * rows
