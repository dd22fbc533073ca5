"""A few steps of training whose result is thrown away: what one costs here."""

import time
from dataclasses import dataclass

import torch
from torch.nn.parallel import DistributedDataParallel

from launch.lockstep import OrderedReduction
from seq.config import Config
from seq.data.corpus import Corpus
from seq.data.dataset import SequenceDataset
from seq.data.loader import make_loader, run_steps
from seq.data.sampler import ShardSampler
from seq.training.memory import warm_up_largest
from seq.training.state import TrainState
from seq.training.step import accumulate_gradients, update

STEPS, SECONDS = 40, 10.0
"""At most."""
UNTIMED = 2
"""The first steps allocate memory."""


@dataclass(frozen=True)
class Trial:
    steps: int
    seconds_a_step: float
    num_parameters: int
    bytes_for_weights: int
    bytes_for_a_shard: int
    """Of the largest shard's forward and backward pass: measured on a GPU, else estimated."""


def try_steps(
    config: Config, corpus: Corpus, dataset: SequenceDataset, sampler: ShardSampler, device: torch.device
) -> Trial:
    """On one process; the first steps of the run, which are a fair sample of it, since steps are shuffled."""
    state = TrainState.create(config, corpus, device)
    parameters = sum(parameter.numel() for parameter in state.model.parameters())
    weights = 16 * parameters  # fp32: weight, gradient and two averages
    shard = _largest(state, config, dataset, sampler, device)
    ddp = DistributedDataParallel(state.model, gradient_as_bucket_view=True)
    reduction = OrderedReduction(ddp)
    loader, times, begin = make_loader(dataset, sampler, ahead=False), [], time.perf_counter()
    for shards in run_steps(loader, sampler, start=0, stop=STEPS):
        update(
            state, accumulate_gradients(ddp, reduction, state, [batch.to(device) for batch in shards], config), config
        )
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter())
        if times[-1] - begin > SECONDS and len(times) > UNTIMED:
            break
    reduction.close()
    timed = times[UNTIMED - 1 :]
    seconds = (timed[-1] - timed[0]) / (len(timed) - 1)
    return Trial(len(times), seconds, parameters, weights, shard)


def _largest(
    state: TrainState, config: Config, dataset: SequenceDataset, sampler: ShardSampler, device: torch.device
) -> int:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        warm_up_largest(state.model, dataset, sampler, config, device)
        return torch.cuda.max_memory_allocated(device) - before
    warm_up_largest(state.model, dataset, sampler, config, device)
    model, tokens = config.model, int(sampler.largest_shard().pieces.padded_tokens.max())
    # The scan keeps about 11 numbers a unit for the backward pass (docs/performance.md); logits are kept twice.
    units = model.num_layers * state.model.gru.directions * model.hidden_size
    classes = state.model.output.out_features if config.task != "classify" else 0
    return tokens * (4 * (11 * units + 2 * model.embedding_dim) + 8 * classes)
