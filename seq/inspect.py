"""See what a config will do, before training: python -m seq.inspect [CONFIG] [section.key=value ...].

It shows rows, classes, lengths and characters; what is dropped or cut; batches, padding and steps; and memory and time,
measured in a few steps of training on this machine, whose result is discarded. With --lr, it tries learning rates instead: training
with a rate that grows from step to step, the curve of the loss over it, and a rate to begin with.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from seq.command_line import answer_help, config_from, config_parser, exit_code

PARSER = config_parser("seq.inspect", __doc__)
PARSER.add_argument("--lr", action="store_true", help="try learning rates, and suggest one")
answer_help(__file__, PARSER)  # before the imports below, which take seconds

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from launch.device import is_gpu, module_of
from launch.tree import wasted_share
from seq.config import Config
from seq.data.corpus import Corpus
from seq.data.examples import SEPARATOR
from seq.data.loader import BatchLoader
from seq.data.outputs import Coded
from seq.data.ragged import RaggedArray
from seq.diagnose.lr_range import LrRange, lr_range
from seq.run.directory import RunDirectory
from seq.run.result import describe_split, num_parameters
from seq.run.run import Run, require_one_process
from seq.tasks.metrics import table_order
from seq.training.hyperparameters import chosen_for
from seq.training.memory import bytes_for_parameters, estimated_bytes_for_pass
from seq.training.pass_size import choose_pass_size
from seq.training.step import Trainer

MOST_STEPS = 2000
"""Steps of the first epoch that are examined."""
MOST_CLASSES = 40
STEPS, SECONDS = 40, 10.0
"""A trial ends after this many steps or seconds."""
UNTIMED = 2
"""The first steps allocate memory and are not timed."""


def main(arguments: list[str]) -> None:
    options = PARSER.parse_intermixed_args(arguments)
    config = config_from(options.words)
    console = Console(highlight=False)
    require_one_process("an inspection")
    run = Run.open(config, RunDirectory.of(config))
    if config.run.auto_hyperparameters:
        settings = " ".join(f"{key}={value}" for key, value in chosen_for(config, run.corpus).items())
        console.print(escape(f"run.auto_hyperparameters: {settings}"), soft_wrap=True)
    for table in () if options.lr else _data_tables(run.corpus):
        console.print(table)
    with run.joined():
        batches = run.batches()
        if options.lr:
            return _say_rates(lr_range(run.trainer(), batches), config, console)
        for line in (*_about_text(run.corpus), *_about_batches(run.config, batches)):
            console.print(escape(line), soft_wrap=True)
        trial = try_steps(run.trainer(), batches, run.device)
    for line in _about_cost(run.config, batches, trial, run.device):
        console.print(escape(line), soft_wrap=True)


def _say_rates(found: LrRange, config: Config, console: Console) -> None:
    console.print(found.table())
    console.print(
        f"try optimizer.lr={found.suggestion:g} (now {config.optimizer.lr:g}); a test of {len(found.rates)} steps says"
    )
    console.print("what trains fast at first, not what ends best: compare two or three rates around it in whole runs")


def _data_tables(corpus: Corpus) -> Iterator[Table]:
    """Splits, classes and the lengths of the training split."""
    splits = Table("split", title=f"data: {corpus.fingerprint[:12]}", title_justify="left")
    for name in ("rows", "tokens", "shortest", "median", "longest"):
        splits.add_column(name, justify="right")
    for name, split in corpus.splits.items():
        lengths = split.lengths
        figures = (len(split), lengths.sum(), lengths.min(), int(np.median(lengths)), lengths.max())
        splits.add_row(name, *(f"{figure:,}" for figure in figures))
    yield splits
    if corpus.labels:
        yield _class_table(corpus)
    elif isinstance(targets := corpus.splits["train"].targets, np.ndarray) and targets.dtype.kind == "f":
        yield _number_table(corpus)
    yield _length_table(corpus)


def _class_table(corpus: Corpus) -> Table:
    table = Table("class", title=f"{len(corpus.labels)} classes", title_justify="left")
    counts = {
        name: np.bincount(_values(split.targets), minlength=len(corpus.labels)) for name, split in corpus.splits.items()
    }
    for name in counts:
        table.add_column(name, justify="right")
    for place in table_order(corpus.labels, counts["train"].tolist(), MOST_CLASSES)[:MOST_CLASSES]:
        table.add_row(escape(corpus.labels[place]), *(f"{count[place]:,}" for count in counts.values()))
    return table


def _values(targets: Coded) -> NDArray[Any]:
    assert targets is not None
    return targets.values if isinstance(targets, RaggedArray) else targets


def _number_table(corpus: Corpus) -> Table:
    table = Table("numbers", *("smallest", "25 %", "median", "75 %", "largest"))
    for name, split in corpus.splits.items():
        numbers = _values(split.targets) * corpus.outputs.scale + corpus.outputs.mean
        table.add_row(name, *(f"{value:.5g}" for value in np.quantile(numbers, (0, 0.25, 0.5, 0.75, 1))))
    return table


def _length_table(corpus: Corpus) -> Table:
    """A bar for each bin, relative to the fullest."""
    about = describe_split(corpus.splits["train"])
    table = Table("time steps", "rows", "", title="training rows by length", title_justify="left")
    most = max(about["lengths"])
    for (first, stop), rows in zip(pairwise(about["edges"]), about["lengths"], strict=True):
        if not rows:
            continue
        span = str(first) if stop == first + 1 else f"{first} - {stop - 1}"
        table.add_row(span, f"{rows:,}", "#" * -(-40 * rows // most))
    return table


def _about_text(corpus: Corpus) -> Iterator[str]:
    tokenizer = corpus.tokenizer
    yield from (f"data: {note}" for note in corpus.notes)
    shown = f": {tokenizer.characters!r}" if tokenizer.kind == "characters" else ""
    if SEPARATOR in tokenizer.characters:
        shown += f" ({SEPARATOR!r} is what stands between two columns)"
    if tokenizer.subwords is not None:
        shown = f", such as {', '.join(map(repr, tokenizer.subwords.longest(8)))}"
    yield f"vocabulary: {tokenizer.describe()} and 4 markers{shown}"
    if corpus.outputs.tokenizer is not None:
        yield f"vocabulary of the targets: {corpus.outputs.tokenizer.describe()} and 4 markers"


def _about_batches(config: Config, batches: BatchLoader) -> Iterator[str]:
    steps = min(batches.steps_per_epoch, MOST_STEPS)
    sizes = [one.sizes for one in batches.sampler.shards(range(steps), [range(1)])]
    rows, tokens = (np.stack(part) for part in zip(*((step.rows, step.tokens) for step in sizes), strict=True))
    padded = np.array([step.padded_tokens for step in sizes])
    waste = {size: wasted_share(size, config.batch.shards) for size in range(1, config.batch.shards + 1)}
    imbalance = (tokens.max(1) / tokens.mean(1) - 1).mean()
    yield (
        f"batches: {batches.steps_per_epoch:,} steps an epoch, {batches.total_steps(config.train):,} in all; a step has "
        f"{config.batch.shards} shards, {rows.sum(1).mean():,.1f} rows and {tokens.sum(1).mean():,.0f} tokens on average"
    )
    yield (
        f"padding: {1 - tokens.sum() / (padded.sum() * config.batch.shards):.2%} of what is computed; the fullest shard has {imbalance:.1%} more "
        f"tokens than the mean; {len(np.unique(padded)):,} sizes of shards, the largest of {padded.max():,} tokens"
    )
    even = ", ".join(str(size) for size, share in waste.items() if not share)
    uneven = ", ".join(f"{size} ({share:.0%})" for size, share in waste.items() if share)
    yield f"processes: {even} share the shards evenly" + f"; others wait part of their time: {uneven}" * bool(uneven)


@dataclass(frozen=True)
class Trial:
    steps: int
    seconds_per_step: float
    num_parameters: int
    bytes_for_weights: int
    bytes_for_a_pass: int
    """Memory of the largest forward and backward pass: measured on a GPU, estimated on a CPU."""
    shards: int
    """In a pass."""


def try_steps(trainer: Trainer, batches: BatchLoader, device: torch.device) -> Trial:
    """Try the first steps of the run, whose result is discarded: a fair sample, because steps are shuffled."""
    choose_pass_size(trainer, batches)
    own = _bytes_for_largest_pass(trainer, batches, device)
    times, begin = list[float](), time.perf_counter()
    for shards in batches.steps(0, STEPS):
        trainer.update(trainer.accumulate_gradients(shards))
        if is_gpu(device):
            module_of(device).synchronize(device)
        times.append(time.perf_counter())
        if times[-1] - begin > SECONDS and len(times) > UNTIMED:
            break
    trainer.close()
    timed = times[UNTIMED - 1 :]
    seconds = (timed[-1] - timed[0]) / (len(timed) - 1)
    return Trial(
        len(times),
        seconds,
        num_parameters(trainer.model),
        bytes_for_parameters(trainer.model),
        own,
        max(map(len, batches.sampler.passes)),
    )


def _bytes_for_largest_pass(trainer: Trainer, batches: BatchLoader, device: torch.device) -> int:
    largest = batches.largest_pass()
    if not is_gpu(device):
        return estimated_bytes_for_pass(trainer.model, trainer.config, largest)
    gpu = module_of(device)
    gpu.reset_peak_memory_stats(device)
    before = gpu.memory_allocated(device)
    beside = trainer.check_memory(largest)
    return int(gpu.max_memory_allocated(device) - before - beside)


def _about_cost(config: Config, batches: BatchLoader, trial: Trial, device: torch.device) -> Iterator[str]:
    steps = batches.total_steps(config.train)
    measured = "measured" if is_gpu(device) else "estimated"
    yield (
        f"model: {trial.num_parameters:,} parameters; memory {measured}: {trial.bytes_for_weights / 1e6:,.0f} MB for weights, "
        f"gradients and AdamW's averages, {trial.bytes_for_a_pass / 1e6:,.0f} MB for the largest pass, of {trial.shards} shard(s)"
    )
    yield (
        f"time: {trial.seconds_per_step * 1000:,.1f} ms a step on one process on {device} ({trial.steps} steps tried): "
        f"{duration(trial.seconds_per_step * steps)} for the run, without evaluations; W processes need more than 1/W of that"
    )


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
