"""A few steps of training whose result is discarded, to measure what a step costs on this machine."""

import time
from dataclasses import dataclass

import torch

from seq.config import Config
from seq.data.corpus import Corpus
from seq.data.loader import BatchLoader
from seq.training.memory import bytes_for_parameters, estimated_bytes_for_shard
from seq.training.step import Trainer

STEPS, SECONDS = 40, 10.0
"""A trial ends after this many steps or seconds."""
UNTIMED = 2
"""The first steps allocate memory and are not timed."""


@dataclass(frozen=True)
class Trial:
    steps: int
    seconds_per_step: float
    num_parameters: int
    bytes_for_weights: int
    bytes_for_a_shard: int
    """Memory of the largest shard's forward and backward pass: measured on a GPU, estimated on a CPU."""


def try_steps(config: Config, corpus: Corpus, batches: BatchLoader, device: torch.device) -> Trial:
    """Try steps on one process: the first steps of the run, which are a fair sample because steps are shuffled."""
    trainer = Trainer(config, corpus, device)
    shard = _bytes_for_largest_shard(trainer, batches, device)
    times, begin = list[float](), time.perf_counter()
    for shards in batches.steps(0, STEPS):
        trainer.update(trainer.accumulate_gradients(shards))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter())
        if times[-1] - begin > SECONDS and len(times) > UNTIMED:
            break
    trainer.close()
    timed = times[UNTIMED - 1 :]
    seconds = (timed[-1] - timed[0]) / (len(timed) - 1)
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    return Trial(len(times), seconds, parameters, bytes_for_parameters(trainer.model), shard)


def _bytes_for_largest_shard(trainer: Trainer, batches: BatchLoader, device: torch.device) -> int:
    largest = batches.largest_shard()
    if device.type != "cuda":
        trainer.warm_up(largest)
        return estimated_bytes_for_shard(trainer.model, trainer.config, int(largest.sizes.padded_tokens.max()))
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    beside = trainer.warm_up(largest)
    return torch.cuda.max_memory_allocated(device) - before - beside
