"""Lockstep inside Hugging Face Accelerate: a GRU over lines of text, with the same parameters at every number of processes.

torchrun --nproc_per_node=2 examples/with_accelerate.py

Accelerate has the device, the process group, the optimizer, clipping and printing. Lockstep has the model, the shards and the data.
"""

import hashlib
import pydoc_data.topics

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional

from launch.lockstep import Lockstep
from seq.data.sampler import BucketedDistributedSampler, pad_shard

SHARDS, SEED = 4, 1
LINES = [torch.tensor(list(line.encode())) for line in pydoc_data.topics.topics["for"].splitlines() if line.strip()]


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.gru = nn.Embedding(256, 32), nn.GRU(32, 64, batch_first=True)
        self.dropout, self.output = nn.Dropout(0.1), nn.Linear(64, 256)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.output(self.dropout(self.gru(self.embedding(inputs))[0]))
        return logits


def main(epochs: int) -> None:
    accelerator = Accelerator(cpu=True)
    if not dist.is_initialized():  # Accelerate makes no group of one process
        dist.init_process_group("gloo")
    torch.manual_seed(SEED)
    lockstep = Lockstep(Model(), shards=SHARDS, seed=SEED)
    optimizer = accelerator.prepare(torch.optim.AdamW(lockstep.model.parameters(), lr=3e-3))
    sampler = BucketedDistributedSampler.of([len(line) - 1 for line in LINES], shards=SHARDS, tokens=512, seed=SEED)
    for step in range(epochs * sampler.steps_per_epoch):
        requests = sampler.of_step(step)
        for shard, request in zip(lockstep.shards(step), requests, strict=True):
            inputs, _ = pad_shard(request, [line[:-1] for line in LINES])
            targets, _ = pad_shard(request, [line[1:] for line in LINES], padding=-1)
            logits = shard.model(inputs).flatten(0, 1)
            loss = functional.cross_entropy(logits, targets.flatten(), ignore_index=-1, reduction="sum")
            accelerator.backward(loss / request.sizes.tokens.sum())
        accelerator.clip_grad_norm_(lockstep.model.parameters(), 1.0)
        optimizer.step()
    content = b"".join(parameter.detach().numpy().tobytes() for parameter in lockstep.model.parameters())
    found = hashlib.sha256(content).hexdigest()[:16]
    accelerator.print(f"{accelerator.num_processes} processes: parameters {found}")
    lockstep.close()
    dist.destroy_process_group()


main(epochs=3)
