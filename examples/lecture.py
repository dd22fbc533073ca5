"""The lecture's classifier of surnames in one file of plain PyTorch: packed batches of like lengths, DistributedDataParallel, mixed
precision, W&B on rank 0, checkpoint and resume. docs/lecture.md says what is still wrong with it.

torchrun --nproc_per_node=2 examples/lecture.py [--epochs 5] [--bf16] [--wandb]
"""

import argparse
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader, DistributedSampler

from seq.data.names import rows, split_of

LETTERS = " '-abcdefghijklmnopqrstuvwxyz"
PADDING, BATCH = 0, 64
Row = tuple[Tensor, int]


def load() -> tuple[list[Row], list[Row], list[str]]:
    """Training rows, test rows, and the origins."""
    names = rows()
    origins = sorted({origin for _, origin in names})
    split: dict[str, list[Row]] = {"train": [], "test": []}
    for name, origin in names:
        letters = torch.tensor([1 + LETTERS.index(letter) for letter in name.lower()])
        split[split_of(name)].append((letters, origins.index(origin)))
    return split["train"], split["test"], origins


class LikeLengths:
    """Batches of this rank's rows: those that the DistributedSampler gives it, in order of length, and the batches shuffled."""

    def __init__(self, data: list[Row], *, shuffle: bool) -> None:
        self.data = data
        self.sampler: DistributedSampler[Any] = DistributedSampler(data, shuffle=shuffle)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[list[int]]:
        # Shuffled rows of equal length stay in shuffled order, since the sort is stable.
        own = sorted(self.sampler, key=lambda row: len(self.data[row][0]))
        batches = [own[first : first + BATCH] for first in range(0, len(own), BATCH)]
        random.Random(self.sampler.epoch).shuffle(batches)
        return iter(batches)

    def __len__(self) -> int:
        return -(-len(self.sampler) // BATCH)


def collate(batch: list[Row]) -> tuple[Tensor, Tensor, Tensor]:
    """(B, T) letters, zero after each name's end, the lengths (B,) and the origins (B,)."""
    names, origins = zip(*batch, strict=True)
    lengths = torch.tensor([len(name) for name in names])
    return pad_sequence(list(names), batch_first=True, padding_value=PADDING), lengths, torch.tensor(origins)


class Classifier(nn.Module):
    def __init__(self, classes: int, width: int = 96) -> None:
        super().__init__()
        self.embedding = nn.Embedding(1 + len(LETTERS), 64, padding_idx=PADDING)
        self.gru = nn.GRU(64, width, batch_first=True, bidirectional=True)
        self.output = nn.Sequential(nn.Dropout(0.4), nn.Linear(2 * width, classes))

    def forward(self, letters: Tensor, lengths: Tensor) -> Tensor:
        """(B, T), and (B,) on the CPU -> logits (B, classes)."""
        packed = pack_padded_sequence(self.embedding(letters), lengths, batch_first=True, enforce_sorted=False)
        _, last = self.gru(packed)  # (2, B, width): after the last letter, and, backward, after the first
        logits: Tensor = self.output(torch.cat([last[0], last[1]], dim=1))
        return logits


def evaluate(model: nn.Module, data: DataLoader[Row], device: torch.device) -> float:
    """The accuracy, over all ranks: counts are added, and divided once."""
    model.eval()
    counts = torch.zeros(2, device=device)
    with torch.inference_mode():
        for letters, lengths, origins in data:
            right = model(letters.to(device), lengths).argmax(1) == origins.to(device)
            counts += torch.tensor([right.sum(), len(right)], device=device)
    dist.all_reduce(counts)
    model.train()
    return float(counts[0] / counts[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--checkpoint", type=Path, default=Path("lecture.pt"))
    parser.add_argument("--bf16", action="store_true", help="matrix products in bf16")
    parser.add_argument("--wandb", action="store_true")
    options = parser.parse_args()
    dist.init_process_group()
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", int(dist.get_node_local_rank())) if on_gpu else torch.device("cpu")
    torch.manual_seed(1 + dist.get_rank())  # dropout differs by rank; DDP copies rank 0's weights to all

    train_rows, test_rows, origins = load()
    batches, test_batches = LikeLengths(train_rows, shuffle=True), LikeLengths(test_rows, shuffle=False)
    train: DataLoader[Row] = DataLoader(train_rows, batch_sampler=batches, collate_fn=collate)  # type: ignore[arg-type]
    test: DataLoader[Row] = DataLoader(test_rows, batch_sampler=test_batches, collate_fn=collate)  # type: ignore[arg-type]
    model = DistributedDataParallel(Classifier(len(origins)).to(device), device_ids=[device.index] if on_gpu else None)
    optimizer, begin = torch.optim.AdamW(model.parameters(), lr=3e-3), 0
    if options.checkpoint.exists():
        state = torch.load(options.checkpoint, map_location=device, weights_only=True)
        model.module.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        begin = state["epoch"]
    logged = None
    if options.wandb and dist.get_rank() == 0:
        import wandb

        logged = wandb.init(project="lecture", config=vars(options) | {"checkpoint": str(options.checkpoint)})

    for epoch in range(begin, options.epochs):
        batches.sampler.set_epoch(epoch)  # without it, every epoch has the same order
        for letters, lengths, answers in train:
            with torch.autocast(device.type, torch.bfloat16, enabled=options.bf16):
                loss = nn.functional.cross_entropy(model(letters.to(device), lengths).float(), answers.to(device))
            optimizer.zero_grad()
            torch.autograd.backward(
                loss
            )  # DDP adds the gradients of all ranks while this runs, and divides by their number
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        accuracy = evaluate(model, test, device)
        if dist.get_rank() == 0:
            print(f"epoch {epoch + 1}: loss {loss.item():.3f}, test accuracy {accuracy:.3f}", flush=True)
            if logged is not None:
                logged.log({"epoch": epoch + 1, "loss": loss.item(), "accuracy": accuracy})
            state = {"model": model.module.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch + 1}
            torch.save(state, options.checkpoint)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
