"""What the train loop adds to the bare arithmetic: the steps of `train_ddp.py` against a loop over prebuilt shards."""

import statistics
from collections.abc import Callable

import torch
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from benchmarks.timing import Report, in_turn, ratio
from launch.context import describe_launch, device_of
from launch.group import process_group
from launch.lockstep import OrderedReduction
from launch.preemption import Preemption
from seq.command_line import config_and_overrides
from seq.config import Config
from seq.config.read import load_config, override_config
from seq.data.corpus import Corpus, prepare_corpus
from seq.data.dataset import Batch, SequenceDataset
from seq.data.loader import make_loader, make_sampler, run_steps
from seq.training.objective import loss_sum
from seq.training.optimizer import lr_at, set_lr
from seq.training.precision import autocast, fix_arithmetic_of
from seq.training.state import TrainState
from seq.training.step import accumulate_gradients, update

STEPS, ROUNDS = 30, 9


def main(words: list[str]) -> None:
    path, overrides = config_and_overrides(words)
    config = load_config(path, overrides)
    corpus = prepare_corpus(config.data, config.task)
    process = describe_launch()
    fix_arithmetic_of(config, device_of(process))
    columns = [
        "shards a step",
        "rows x tokens",
        "bare loop, ms a step",
        "train loop, ms a step",
        "bare / train",
        "quartiles",
    ]
    report = Report("pipeline", f"{config.run.name}: the same {STEPS} steps, {ROUNDS} rounds", columns)
    with process_group(process, timeout_seconds=config.run.timeout_seconds) as device:
        for shards in sorted({1, config.batch.shards}):
            _add(report, override_config(config, [f"batch.shards={shards}"], where="benchmark"), corpus, device)
    report.show()


def _add(report: Report, config: Config, corpus: Corpus, device: torch.device) -> None:
    dataset = SequenceDataset(corpus.splits["train"])
    sampler = make_sampler(dataset, config.batch, seed=config.run.seed)
    loader = make_loader(dataset, sampler, ahead=device.type == "cuda")
    prebuilt = [[shard.to(device) for shard in shards] for shards in run_steps(loader, sampler, start=0, stop=STEPS)]
    state = TrainState.create(config, corpus, device)
    ddp = DistributedDataParallel(state.model, gradient_as_bucket_view=True)
    reduction, preemption = OrderedReduction(ddp), Preemption()

    def train() -> None:
        state.progress.step = 0
        for shards in run_steps(loader, sampler, start=0, stop=STEPS):
            set_lr(state.optimizer, lr_at(state.progress.step, 10**6, config.optimizer))
            losses = accumulate_gradients(ddp, reduction, state, [shard.to(device) for shard in shards], config)
            preemption.ask()
            update(state, losses, config)
            state.progress.advance(shards[0].pieces)
            preemption.answer()

    bare_state = TrainState.create(config, corpus, device)
    ways: dict[str, Callable[[], object]] = {"bare": lambda: _bare(bare_state, prebuilt, config), "train": train}
    seconds = in_turn(ways, ROUNDS)
    low, middle, high = ratio(seconds, "bare", "train")
    bare, trained = (statistics.median(seconds[way]) / STEPS * 1000 for way in ways)
    batch = f"{config.batch.rows} x {config.batch.tokens}"
    report.add(config.batch.shards, batch, bare, trained, middle, f"{low:.3f} to {high:.3f}")
    reduction.close()
    preemption.close()


def _bare(state: TrainState, steps: list[list[Batch]], config: Config) -> None:
    """As short as a training loop can be."""
    for shards in steps:
        for batch in shards:
            with autocast(config.train.precision, batch.inputs.device):
                logits, last = state.model(**batch.arguments(state.carried.before(batch)))
            state.carried.after(batch, last)
            (loss_sum(logits, batch.targets) / batch.num_targets).backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(state.model.parameters(), config.train.max_norm)
        state.optimizer.step()
        state.optimizer.zero_grad()
