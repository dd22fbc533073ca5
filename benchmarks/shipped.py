"""Lockstep as the configs have it, against a careful loop with the same model, data and batch: python -m benchmarks.shipped [NAME ...]

The careful loop reads the step's rows as one padded batch of neighbours in length, with torch's own layers and dense `nn.GRU`, clipping,
and fused AdamW. N-gram tables are left out, which such a loop would not have. Lockstep divides the same rows among 1, 4 and 8 shards.
Batches are built before. One process with one thread trains in all loops; the figures are medians of rounds in turn, in CPU time and wall
time; those of bf16 only where the hardware has it.
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import product
from typing import NamedTuple

import torch
from torch.nn.utils import clip_grad_norm_

from benchmarks.timing import DEVICE, Report, in_turn, ratio
from launch.context import PROGRAM, describe_launch
from launch.group import process_group
from launch.seeding import imitates_bf16
from seq.config import Config, Seq2SeqConfig
from seq.config.read import load_config
from seq.data.corpus import Corpus, prepare_corpus
from seq.data.loader import BatchLoader
from seq.models import build_model
from seq.models.gru import GRU
from seq.tasks import task_of
from seq.training.objective import Objective
from seq.training.pass_size import choose_pass_size
from seq.training.precision import configure_numerics
from seq.training.step import Trainer

NAMES = ("names", "speeches", "punctuation", "pronunciation")
SHARDS = (1, 4, 8)
STEPS, MANY = 4, {"names": 24}
"""Steps that one timing takes."""
Loop = Callable[[], None]


class Measured(NamedTuple):
    train: Loop
    """Trains some steps."""
    tokens: int
    """In these steps, without padding."""
    close: Loop


def main(names: list[str], rounds: int) -> None:
    columns = ["config", "precision", "loop", "tokens/s", "times careful, CPU", "quartiles", "wall"]
    report = Report("shipped", f"one thread, one process, {DEVICE.type}; {rounds} rounds in turn", columns)
    precisions = ("fp32",) if imitates_bf16() else ("fp32", "bf16")
    with process_group(describe_launch(), timeout_seconds=3600):
        for name, precision in product(names, precisions):
            _add(report, name, precision, rounds)
    report.show()


def _add(report: Report, name: str, precision: str, rounds: int) -> None:
    loops, cpu = dict(_loops(name, precision)), defaultdict[str, list[float]](list)
    wall = in_turn({loop: _timed(own.train, cpu[loop]) for loop, own in loops.items()}, rounds)
    per_token = [
        {loop: [seconds / own.tokens for seconds in spent[loop][-rounds:]] for loop, own in loops.items()}
        for spent in (cpu, wall)
    ]
    for loop in loops:
        (low, times, high), (_, by_wall, _) = (ratio(spent, "careful", loop) for spent in per_token)
        speed = 1 / statistics.median(per_token[0][loop])
        report.add(name, precision, loop, speed, times, f"{low:.2f} to {high:.2f}", by_wall)
    for own in loops.values():
        own.close()


def _timed(train: Loop, spent: list[float]) -> Loop:
    def timed() -> None:
        begin = time.process_time()
        train()
        spent.append(time.process_time() - begin)

    return timed


def _loops(name: str, precision: str) -> Iterator[tuple[str, Measured]]:
    path, steps = PROGRAM.parent / "configs" / f"{name}.yaml", MANY.get(name, STEPS)
    common = [f"train.precision={precision}"]
    shipped = load_config(path, common)
    if not isinstance(shipped.model, Seq2SeqConfig):
        common.append("model.ngrams=0")
    corpus = prepare_corpus(shipped.data, task_of(shipped))
    for shards in SHARDS:
        size = {key: getattr(shipped.batch, key) * shipped.batch.shards // shards for key in ("rows", "tokens")}
        words = [f"batch.shards={shards}", *(f"batch.{key}={value}" for key, value in size.items())]
        config = load_config(path, [*common, *words])
        configure_numerics(config, DEVICE)
        batches = BatchLoader(corpus.splits["train"], config.batch, seed=1)
        tokens = sum(int(passes[0].sizes.tokens.sum()) for passes in batches.steps(0, steps))
        if shards == 1:
            yield "careful", Measured(_careful(config, corpus, batches, steps), tokens, lambda: None)
        train, close = _lockstep(config, corpus, batches, steps)
        yield f"lockstep, {shards} shard(s)", Measured(train, tokens, close)


def _lockstep(config: Config, corpus: Corpus, batches: BatchLoader, steps: int) -> tuple[Loop, Loop]:
    trainer = Trainer(config, task_of(config), corpus, DEVICE)
    choose_pass_size(trainer, batches)
    whole = list(batches.steps(0, steps))

    def train() -> None:
        for passes in whole:
            trainer.update(trainer.accumulate_gradients(passes))

    return train, trainer.close


def _careful(config: Config, corpus: Corpus, batches: BatchLoader, steps: int) -> Loop:
    """A plain training loop. Outside of a pass, the layers of a model are torch's own."""
    model = build_model(config, vocab_size=corpus.tokenizer.vocab_size, num_outputs=corpus.outputs.size).to(DEVICE)
    for module in model.modules():
        if isinstance(module, GRU):
            module.path = "dense"
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.optimizer.lr, fused=True)
    objective = Objective.of(config, task_of(config), corpus.splits["train"], DEVICE)
    whole, hidden = [passes[0] for passes in batches.steps(0, steps)], None

    def train() -> None:
        nonlocal hidden
        for batch in whole:
            optimizer.zero_grad()
            losses, last = objective.losses(model, batch.to(DEVICE), hidden)
            losses.sum().backward()  # type: ignore[no-untyped-call]
            clip_grad_norm_(model.parameters(), config.train.clip_grad_norm)
            optimizer.step()
            hidden = last.detach() if batch.continues is not None else None

    return train


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shipped", description=__doc__)
    parser.add_argument("names", nargs="*", default=list(NAMES), help=f"configs ({', '.join(NAMES)})")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    main(options.names, options.rounds)
