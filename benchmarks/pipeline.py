"""What the train loop adds to the bare arithmetic: the steps of `train_ddp.py` against a loop over prebuilt shards.

python -m benchmarks.pipeline [CONFIG] [section.key=value ...]
"""

import statistics
import sys
from collections.abc import Callable

import torch
from torch.nn.utils import clip_grad_norm_

from benchmarks.timing import Report, in_turn, ratio
from launch.context import describe_launch
from launch.device import device_of
from launch.group import process_group
from launch.preemption import Preemption
from seq.command_line import config_from, config_parser, exit_code
from seq.config import Config
from seq.config.read import override_config
from seq.data.corpus import Corpus, prepare_corpus
from seq.data.dataset import Batch
from seq.data.loader import BatchLoader
from seq.models import row_tables
from seq.tasks import task_of
from seq.training.objective import Objective
from seq.training.precision import configure_numerics
from seq.training.state import TrainState
from seq.training.step import Trainer

STEPS, ROUNDS = 30, 9


def main(arguments: list[str]) -> None:
    config = config_from(config_parser("benchmarks.pipeline", __doc__).parse_args(arguments).words)
    corpus, process = prepare_corpus(config.data, task_of(config)), describe_launch()
    configure_numerics(config, device_of(process.local_rank))
    columns = ["shards", "rows x tokens", "bare loop, ms", "train loop, ms", "bare / train", "quartiles"]
    report = Report("pipeline", f"{config.run.name}: the same {STEPS} steps, {ROUNDS} rounds", columns)
    with process_group(process, timeout_seconds=config.run.timeout_seconds) as device:
        for shards in sorted({1, config.batch.shards}):
            _add(report, override_config(config, [f"batch.shards={shards}"], where="benchmark"), corpus, device)
    report.show()


def _add(report: Report, config: Config, corpus: Corpus, device: torch.device) -> None:
    batches = BatchLoader(corpus.splits["train"], config.batch, seed=config.run.seed)
    prebuilt = [[shard.to(device) for shard in shards] for shards in batches.steps(0, STEPS)]
    bare_state = TrainState.create(config, corpus, device)
    trainer, preemption = Trainer(config, task_of(config), corpus, device), Preemption()

    objective = Objective.of(config, task_of(config), corpus.splits["train"], device)

    def train() -> None:
        for shards in batches.steps(0, STEPS):
            trainer.set_lr(1, batches.steps_per_epoch)
            losses = trainer.accumulate_gradients(shards)
            preemption.ask()
            trainer.update(losses)
            trainer.state.progress.advance(shards[0].sizes)
            preemption.answer()

    variants: dict[str, Callable[[], object]] = {
        "bare": lambda: _bare(bare_state, prebuilt, objective, config),
        "train": train,
    }
    seconds = in_turn(variants, ROUNDS)
    low, middle, high = ratio(seconds, "bare", "train")
    bare, trained = (statistics.median(seconds[variant]) / STEPS * 1000 for variant in variants)
    batch = f"{config.batch.rows} x {config.batch.tokens}"
    report.add(config.batch.shards, batch, bare, trained, middle, f"{low:.3f} to {high:.3f}")
    trainer.close()
    preemption.close()


def _bare(state: TrainState, steps: list[list[Batch]], objective: Objective, config: Config) -> None:
    """As short as a training loop can be."""
    tables = row_tables(state.model)
    one, good = torch.ones(()), torch.tensor(False)
    for shards in steps:
        for batch in shards:
            loss, last = objective.shard_loss(state.model, batch, state.carried.before(batch))
            state.carried.after(batch, last)
            loss.backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(state.model.parameters(), config.train.clip_grad_norm)
        state.optimizer.step()
        state.optimizer.zero_grad()
        for name, table in tables.items():
            gradient = table.take_gradient()
            rows, values = gradient.total(len(table.weight), most=gradient.rows.numel())
            state.tables[name].step(rows, values, lr=config.optimizer.lr, divide_by=one, bad=good)


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
