"""A record of what a script's steps compute lets two runs of it be compared to the last bit (docs/your-own-trainer.md).

A folder holds `digests.jsonl`, a line for each step with a digest of every summed gradient, and for one step the tensors themselves,
`tensors-STEP/SHARD.pt`: each shard's gradients before they are added.
"""

import json
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from launch.collectives import tensor_digest


class StepRecord:
    """`folder`: of this start alone, since records of two starts would mix. FileExistsError if there is something in it. `tensors_of`: the
    step whose tensors are kept. Every process makes one, before its `Lockstep`."""

    def __init__(self, folder: str | Path, *, tensors_of: int | None = None) -> None:
        self.folder, self.tensors_of = Path(folder), tensors_of
        if self.folder.is_dir() and any(self.folder.iterdir()):
            raise FileExistsError(f"{folder}: has the record of an earlier start; delete it, or choose another folder")

    def shard(self, step: int, number: int, model: nn.Module, gradients: dict[Tensor, Tensor]) -> None:
        """Called by the rank that has the shard."""
        folder = tensors_folder(self.folder, step)
        folder.mkdir(parents=True, exist_ok=True)
        named = {name: gradients[own].cpu() for name, own in model.named_parameters() if own in gradients}
        torch.save(named, folder / f"{number}.pt")

    def step(self, step: int, model: nn.Module) -> None:
        """Called by every rank when every `grad` is the sum over all shards; rank 0 writes."""
        if dist.get_rank() == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            digests = {name: tensor_digest(p.grad) for name, p in model.named_parameters() if p.grad is not None}
            with (self.folder / "digests.jsonl").open("a") as file:
                file.write(json.dumps({"step": step, "gradients": digests}) + "\n")


def tensors_folder(folder: Path, step: int) -> Path:
    return folder / f"tensors-{step}"


def read_shards(folder: Path, step: int) -> dict[int, dict[str, Tensor]]:
    """By shard, the gradients of a step; empty if they were not kept."""
    files = sorted(tensors_folder(folder, step).glob("*.pt"), key=lambda path: int(path.stem))
    return {int(path.stem): torch.load(path, weights_only=True) for path in files}
