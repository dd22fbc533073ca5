"""Look inside one step: the batch as text, the output of each layer, and the gradients."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor, nn

from seq.data.corpus import Corpus
from seq.data.dataset import Batch, decode_rows
from seq.models.gru import GRU
from seq.training.step import Trainer

ROWS = 8
"""Most rows of a shard to print."""


def inspect_step(trainer: Trainer, shards: list[Batch], corpus: Corpus) -> None:
    """Forward and backward pass with anomaly detection (a NaN in the backward pass raises where it arises), then tables; on
    a terminal, a Python prompt follows. No update is made."""
    console = Console(width=max(120, Console().width), highlight=False)
    for batch in shards:
        console.print(
            f"shard {', '.join(map(str, batch.shards))}: {batch.inputs.shape[0]} rows, {batch.inputs.shape[1]} steps",
            style="bold",
        )
        for line in batch_as_text(batch, corpus):
            console.print("  " + escape(line), soft_wrap=True)
    losses = None
    with watch(trainer.model) as activations, torch.autograd.set_detect_anomaly(True):
        try:
            losses = trainer.accumulate_gradients(shards)
        except RuntimeError as error:
            console.print(escape(f"the backward pass stopped where a value was first not finite: {error}"))
    if losses is not None:
        console.print(f"loss {losses.sum().item()!r}; by shard {losses.tolist()}", soft_wrap=True)
    console.print(_table("activations (shard: module)", activations))
    console.print(_table("gradients, before clipping", trainer.gradients()))
    if sys.stdin.isatty():
        import code

        names = {"trainer": trainer, "model": trainer.model, "shards": shards, "losses": losses, "corpus": corpus}
        code.interact(f"stopped before the update; names: {', '.join(names)}", local=names)


def batch_as_text(batch: Batch, corpus: Corpus) -> list[str]:
    """Its first rows, decoded; for a classifier, with their labels."""
    rows = decode_rows(batch, corpus)
    lines = [f"{row['text']!r}" + (f"  -> {row['label']}" if "label" in row else "") for row in rows[:ROWS]]
    return lines + [f"... {len(rows) - ROWS} more rows"] * (len(rows) > ROWS)


@contextmanager
def watch(model: nn.Module) -> Iterator[list[tuple[str, Tensor]]]:
    """While the context is open, collect (`shard: module`, output) of every call of a GRU or an innermost module."""
    seen: list[tuple[str, Tensor]] = []
    calls: dict[str, int] = {}

    def hook(name: str) -> Any:
        def record(_module: nn.Module, _inputs: Any, output: Any) -> None:
            first = output[0] if isinstance(output, tuple) else output
            data = first.data if hasattr(first, "batch_sizes") else first
            seen.append((f"{calls.get(name, 0)}: {name}", data.detach()))
            calls[name] = calls.get(name, 0) + 1

        return record

    # A GRU runs its layers from their weights, so they are not called.
    called = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, GRU) or not list(module.children())
    ]
    handles = [module.register_forward_hook(hook(name)) for name, module in called]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _table(title: str, tensors: list[tuple[str, Tensor]]) -> Table:
    table = Table(
        "tensor", "shape", "mean", "std", "smallest", "largest", "not finite", title=title, title_justify="left"
    )
    for name, tensor in tensors:
        values = tensor.float()
        figures = (values.mean(), values.std(correction=0), values.min(), values.max())
        bad = int((~values.isfinite()).sum())
        table.add_row(name, str(list(tensor.shape)), *(f"{figure.item():.3g}" for figure in figures), str(bad))
    return table
