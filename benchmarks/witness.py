"""What a comparison costs: steps in which a second rank computes a shard too, and the same steps without it, in turn.

python -m benchmarks.witness [CONFIG] [section.key=value ...]                   one process
torchrun --nproc_per_node=2 -m benchmarks.witness [CONFIG] [section.key=value ...]
"""

import statistics
import sys
from collections.abc import Callable

import torch.distributed as dist

from benchmarks.timing import Report, in_turn, ratio
from seq.command_line import config_from, config_parser, exit_code
from seq.config.read import override_config
from seq.data.dataset import Batch
from seq.run.directory import RunDirectory
from seq.run.run import Run
from seq.run.witness import Witness
from seq.training.pass_size import choose_pass_size
from seq.training.step import Trainer

ROUNDS, EVERY = 120, 50


def main(arguments: list[str]) -> None:
    words = config_parser("benchmarks.witness", __doc__).parse_args(arguments).words
    config = override_config(config_from(words), ["sync.witness_every=1", "run.name=witness-benchmark"], "benchmark")
    run = Run.open(config, RunDirectory.of(config))
    with run.joined():
        seconds = compare(run)
    if run.is_main:
        low, middle, high = (100 * (slower - 1) / EVERY for slower in ratio(seconds, "with", "without"))
        columns = [
            "config",
            "processes",
            "step, ms",
            "step with a comparison, ms",
            f"cost of every {EVERY}th, %",
            "quartiles",
        ]
        report = Report("witness", f"{ROUNDS} rounds in turn", columns)
        times = [1000 * statistics.median(seconds[name]) for name in ("without", "with")]
        report.add(config.data.source, run.process.world_size, *times, middle, f"{low:.2f} to {high:.2f}")
        report.show()


def compare(run: Run) -> dict[str, list[float]]:
    trainer, batches = run.trainer(), run.batches()
    choose_pass_size(trainer, batches)
    witness = Witness(run, trainer, batches, lambda *_, **__: None)
    steps = list(batches.steps(0, ROUNDS + 2))
    kinds: dict[str, Trainer | Witness] = {"without": trainer, "with": witness}
    seconds = in_turn(
        {name: _stepper(trainer, kind, steps) for name, kind in kinds.items()}, ROUNDS, before=dist.barrier
    )
    trainer.close()
    return seconds


def _stepper(trainer: Trainer, kind: Trainer | Witness, steps: list[list[Batch]]) -> Callable[[], None]:
    remaining = iter(steps)

    def step() -> None:
        trainer.update(kind.accumulate_gradients(next(remaining))).grad_norm.item()

    return step


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
