"""What lockstep costs: the same steps with the ordered reduction and with plain all-reduce, in turn.

`python -m seq.benchmark sync` starts this on two processes.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable

import torch
import torch.distributed as dist
from rich.console import Console
from rich.table import Table
from torch.nn.parallel import DistributedDataParallel

from launch.allreduce import PlainReduction
from launch.context import describe_launch, device_of
from launch.group import process_group
from launch.lockstep import OrderedReduction
from seq.command_line import config_and_overrides, exit_code
from seq.config import Config
from seq.config.read import load_config
from seq.data.corpus import Corpus, prepare_corpus
from seq.data.dataset import Batch, SequenceDataset
from seq.data.loader import make_loader, make_sampler, run_steps
from seq.training.precision import fix_arithmetic_of
from seq.training.state import TrainState
from seq.training.step import accumulate_gradients, update

ROUNDS = 120


def main(arguments: list[str]) -> None:
    config = load_config(*config_and_overrides(arguments))
    process = describe_launch()
    corpus = prepare_corpus(config.data, config.task)
    fix_arithmetic_of(config, device_of(process))
    with process_group(process, timeout_seconds=config.run.timeout_seconds) as device:
        seconds = compare(config, corpus, device)
        if process.is_main:
            report(config, seconds, process.world_size)


def compare(config: Config, corpus: Corpus, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each step by reduction. Which one comes first changes from round to round."""
    kinds: dict[str, Callable[[DistributedDataParallel], OrderedReduction | PlainReduction]] = {
        "ordered": OrderedReduction,
        "allreduce": lambda ddp: PlainReduction(ddp, compress="none"),
    }
    made = {}
    for kind, reduction_of in kinds.items():
        state = TrainState.create(config, corpus, device)
        ddp = DistributedDataParallel(state.model, gradient_as_bucket_view=True)
        made[kind] = (ddp, reduction_of(ddp), state)
    dataset = SequenceDataset(corpus.splits["train"])
    sampler = make_sampler(dataset, config.batch, seed=config.run.seed)
    loader = make_loader(dataset, sampler, ahead=False)
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number, batches in enumerate(run_steps(loader, sampler, start=0, stop=ROUNDS + 5)):
        shards = [batch.to(device) for batch in batches]
        for kind in list(kinds)[:: 1 if number % 2 else -1]:
            spent = _timed_step(*made[kind], shards, config)
            if number >= 5:
                seconds[kind].append(spent)
    for _, reduction, _ in made.values():
        reduction.close()
    return seconds


def _timed_step(
    ddp: DistributedDataParallel,
    reduction: OrderedReduction | PlainReduction,
    state: TrainState,
    shards: list[Batch],
    config: Config,
) -> float:
    dist.barrier()
    begin = time.perf_counter()
    update(state, accumulate_gradients(ddp, reduction, state, shards, config), config).grad_norm.item()
    return time.perf_counter() - begin


def report(config: Config, seconds: dict[str, list[float]], world_size: int) -> None:
    """Medians, and the quartiles of the ratio round by round."""
    ratios = [ordered / plain for ordered, plain in zip(seconds["ordered"], seconds["allreduce"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    title = f"{config.run.name}: {world_size} processes, {config.batch.shards} shards, {ROUNDS} rounds in turn"
    table = Table("reduction", "median step, ms", title=title, title_justify="left", min_width=70)
    for kind, spent in seconds.items():
        table.add_row(kind, f"{statistics.median(spent) * 1000:.2f}")
    Console(width=100).print(table)
    print(f"ordered / allreduce: median {middle:.3f}, quartiles {low:.3f} to {high:.3f}")
    print(json.dumps({"ratio_median": middle, "ratio_quartiles": [low, high], "torch": torch.__version__}))


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
