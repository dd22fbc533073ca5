"""What the ordered reduction costs: the same steps with it and with plain all-reduce, in turn, on two processes.

python -m benchmarks.sync [CONFIG] [section.key=value ...]
"""

import statistics
import subprocess
import sys
from collections.abc import Callable

import torch
import torch.distributed as dist

from benchmarks.timing import Report, in_turn, ratio
from launch.context import describe_launch
from launch.device import device_of
from launch.group import process_group
from seq.command_line import config_from, config_parser, exit_code
from seq.config import Config
from seq.config.read import override_config
from seq.data.corpus import Corpus, prepare_corpus
from seq.data.dataset import Batch
from seq.data.loader import BatchLoader
from seq.tasks import task_of
from seq.training.pass_size import choose_pass_size
from seq.training.precision import configure_numerics
from seq.training.step import Trainer

ROUNDS = 120


def main(arguments: list[str]) -> int:
    config = config_from(config_parser("benchmarks.sync", __doc__).parse_args(arguments).words)
    process = describe_launch()
    if process.launcher == "python":
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
        return subprocess.run([*torchrun, "-m", "benchmarks.sync", *arguments], check=False).returncode
    corpus = prepare_corpus(config.data, task_of(config))
    configure_numerics(config, device_of(process.local_rank))
    with process_group(process, timeout_seconds=config.run.timeout_seconds) as device:
        seconds, sent = compare(config, corpus, device)
        if process.is_main:
            _report(config, seconds, sent, process.world_size).show()
    return 0


def compare(config: Config, corpus: Corpus, device: torch.device) -> tuple[dict[str, list[float]], dict[str, float]]:
    """By reduction: seconds of each step, and bytes that a rank sends a step."""
    batches = BatchLoader(corpus.splits["train"], config.batch, seed=config.run.seed)
    trainers = {
        kind: Trainer(
            override_config(config, [f"sync.reduction={kind}"], where="benchmark"), task_of(config), corpus, device
        )
        for kind in ("ordered", "allreduce")
    }
    choose_pass_size(trainers["ordered"], batches)
    steps = list(batches.steps(0, ROUNDS + 2))
    seconds = in_turn(
        {kind: _stepper(trainer, steps) for kind, trainer in trainers.items()}, ROUNDS, before=dist.barrier
    )
    sent = {kind: trainer.sent_bytes / len(steps) for kind, trainer in trainers.items()}
    for trainer in trainers.values():
        trainer.close()
    return seconds, sent


def _stepper(trainer: Trainer, steps: list[list[Batch]]) -> Callable[[], None]:
    remaining = iter(steps)

    def step() -> None:
        trainer.update(trainer.accumulate_gradients(next(remaining))).grad_norm.item()

    return step


def _report(config: Config, seconds: dict[str, list[float]], sent: dict[str, float], world_size: int) -> Report:
    title = f"{config.run.name}: {world_size} processes, {config.batch.shards} shards, {ROUNDS} rounds in turn"
    report = Report(
        "sync", title, ["reduction", "median step, ms", "times all-reduce's time", "quartiles", "MB sent a step"]
    )
    for kind, spent in seconds.items():
        low, middle, high = ratio(seconds, kind, "allreduce")
        report.add(kind, statistics.median(spent) * 1000, middle, f"{low:.3f} to {high:.3f}", sent[kind] / 1e6)
    return report


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
