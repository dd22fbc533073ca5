"""A small character Transformer in plain PyTorch, with the same parameters at every number of processes.

torchrun --nproc_per_node=4 examples/any_model.py [--steps 60]     1 to 8 processes print the same digest

The lines that end with "# lockstep" are all that differ from an ordinary DDP script.
"""

import argparse
import hashlib
import pydoc_data.topics
import time

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from launch.lockstep import Lockstep  # lockstep

SHARDS, ROWS, LENGTH, SEED = 8, 32, 64, 1
TEXT = torch.tensor(list("".join(pydoc_data.topics.topics.values()).encode()))
"""Python's own documentation."""


class Transformer(nn.Module):
    def __init__(self, width: int = 64, layers: int = 2) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(256, width), nn.Embedding(LENGTH, width)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.1, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.output = nn.Linear(width, 256)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, T) bytes -> logits (B, T, 256)."""
        embedded = self.tokens(inputs) + self.places.weight[: inputs.shape[1]]
        mask = nn.Transformer.generate_square_subsequent_mask(inputs.shape[1])
        logits: Tensor = self.output(self.layers(embedded, mask=mask, is_causal=True))
        return logits


def batch(step: int) -> Tensor:
    """The rows (ROWS, LENGTH + 1) of a step: a function of the step, so every process can compute it."""
    starts = torch.randint(len(TEXT) - LENGTH, (ROWS,), generator=torch.Generator().manual_seed(step))
    return TEXT[starts[:, None] + torch.arange(LENGTH + 1)]


def loss_sum(model: nn.Module, rows: Tensor) -> Tensor:
    """A sum: the mean of means is not the mean if shards have different numbers of targets."""
    return functional.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten(), reduction="sum")


def train(model: nn.Module, steps: int) -> float:
    """Returns the loss of this process's last shard, per character."""
    lockstep = Lockstep(model, shards=SHARDS, seed=SEED)  # lockstep
    optimizer, last = torch.optim.AdamW(model.parameters(), lr=3e-3), 0.0
    for step in range(steps):
        rows = batch(step).chunk(SHARDS)
        for shard in lockstep.shards(step):  # lockstep
            loss = loss_sum(shard.model, rows[shard.number])
            torch.autograd.backward(loss / (ROWS * LENGTH))  # the targets of the whole step
            last = loss.item() / rows[shard.number][:, 1:].numel()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    lockstep.close()  # lockstep
    return last


def train_plain(model: nn.Module, steps: int) -> None:
    """The same with DDP alone: one batch for each process."""
    ddp, optimizer = DistributedDataParallel(model), torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(steps):
        own = batch(step).chunk(dist.get_world_size())[dist.get_rank()]
        torch.autograd.backward(loss_sum(ddp, own) / own[:, 1:].numel())
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def digest(model: nn.Module) -> str:
    found = hashlib.sha256()
    for parameter in model.parameters():
        found.update(parameter.detach().numpy().tobytes())
    return found.hexdigest()[:16]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    steps = parser.parse_args().steps
    dist.init_process_group("gloo")
    torch.manual_seed(SEED)
    model = Transformer()
    begin = time.perf_counter()
    last = train(model, steps)
    seconds = time.perf_counter() - begin
    found = digest(model)
    begin = time.perf_counter()
    train_plain(model, steps)
    plain = time.perf_counter() - begin
    if dist.get_rank() == 0:
        print(f"{dist.get_world_size()} processes: loss {last:.3f}, parameters {found}")
        print(f"{1000 * seconds / steps:.1f} ms a step, plain DDP {1000 * plain / steps:.1f} ms")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
