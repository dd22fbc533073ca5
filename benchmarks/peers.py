"""Lockstep against other training loops, on the same sequences and the same model: python -m benchmarks.peers

Plain PyTorch, Hugging Face's collator, accelerate and Lightning (pip install -e ".[bench]") pad random batches in a
DataLoader and use packed rows, `nn.GRU` and AdamW. "Sorted, padded" is the best that a careful user writes: batches of
neighbours in length, dense `nn.GRU`, fused AdamW. Lockstep uses the batches of its plan. Real tokens a second are counted,
without padding; ratios are to plain PyTorch, and to the careful loop of the same precision. All loops run on the GPU if there is
one.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import torch

from benchmarks.others import (
    Problem,
    accelerate,
    careful,
    examples_of,
    hugging_face_loader,
    lightning,
    padding_loader,
    plain,
    sorted_loader,
)
from benchmarks.timing import DEVICE, Report, in_turn, ratio
from launch.context import describe_launch
from launch.group import process_group
from launch.seeding import fast_fp32_error, set_numerics
from seq.config import Config
from seq.config.read import override_config, parse_config
from seq.data.corpus import Corpus, prepare_corpus
from seq.data.loader import BatchLoader
from seq.tasks import task_of
from seq.training.pass_size import choose_pass_size
from seq.training.precision import FAST_FP32_LIMIT
from seq.training.step import Trainer

TEXT = ("data.source=speeches", "data.subset=since-1990")
PROBLEMS = (
    Problem(
        "names, H=100, 2 layers, bidirectional",
        "classifier",
        ("data.max_length=32", "model.embedding_dim=100", "model.hidden_size=100", "model.num_layers=2"),
        256,
        8,
    ),
    Problem(
        "lines of text, H=512",
        "language_model",
        (*TEXT, "data.max_length=128", "model.embedding_dim=128", "model.hidden_size=512"),
        64,
        2,
    ),
    Problem(
        "512 characters, H=256",
        "language_model",
        (*TEXT, "data.unit=chunk", "data.max_length=512", "model.embedding_dim=64", "model.hidden_size=256"),
        32,
        1,
    ),
)


def main(threads: int, rounds: int) -> None:
    torch.set_num_threads(threads)
    process = describe_launch()
    columns = ["problem", "loop", "tokens/s", "times plain", "quartiles", "times careful"]
    report = Report("peers", f"{threads} thread(s), one process, {DEVICE.type}; {rounds} rounds in turn", columns)
    with process_group(process, timeout_seconds=3600):
        for problem in PROBLEMS:
            _add(report, problem, threads, rounds)
    report.show()


def _add(report: Report, problem: Problem, threads: int, rounds: int) -> None:
    variants = dict(_variants(problem, threads))
    tokens: dict[str, list[int]] = {name: [] for name in variants}
    seconds = in_turn({name: _counting(variant, tokens[name]) for name, variant in variants.items()}, rounds)
    per_token = {name: [s / n for s, n in zip(seconds[name], tokens[name][-rounds:], strict=True)] for name in variants}
    for name, spent in per_token.items():
        low, middle, high = ratio(per_token, "plain PyTorch", name)
        base = "sorted, padded, bf16" if name.endswith("bf16") else "sorted, padded"
        quartiles, times = f"{low:.2f} to {high:.2f}", ratio(per_token, base, name)[1]
        report.add(problem.name, name, 1 / statistics.median(spent), middle, quartiles, times)


def _counting(variant: Callable[[], int], tokens: list[int]) -> Callable[[], None]:
    return lambda: tokens.append(variant())


def _variants(problem: Problem, threads: int) -> Iterator[tuple[str, Callable[[], int]]]:
    """Each trains on some batches and returns the tokens in them."""
    base = parse_config({"model": {"kind": problem.kind}}, where="benchmark")
    config = override_config(base, ["data.lowercase=true", *problem.settings], where="benchmark")
    corpus = prepare_corpus(config.data, task_of(config))
    examples = list(examples_of(corpus))
    yield "plain PyTorch", plain(problem, config, corpus, padding_loader(examples, problem.rows))
    for name, bf16 in {"sorted, padded": False, "sorted, padded, bf16": True}.items():
        yield name, careful(problem, config, corpus, sorted_loader(examples, problem.rows), bf16=bf16)
    if find_spec("transformers") and config.model.kind == "classifier":
        yield "Hugging Face collator", plain(problem, config, corpus, hugging_face_loader(examples, problem.rows))
    if find_spec("accelerate"):
        yield "accelerate", accelerate(problem, config, corpus, examples)
    if find_spec("lightning"):
        yield "Lightning", lightning(problem, config, corpus, examples)
    for shards in (1, 4):
        kinds: dict[str, tuple[str, ...]] = {"": (), ", bf16": ("train.precision=bf16",)}
        if DEVICE.type == "cpu" and fast_fp32_error() <= FAST_FP32_LIMIT:
            kinds[", fast fp32"] = ("train.fast_fp32=true",)
        for kind, more in kinds.items():
            own = [f"batch.shards={shards}", f"batch.rows={problem.rows // shards}", "batch.tokens=1000000"]
            chosen = override_config(config, [*own, *more], where="benchmark")
            yield f"lockstep, {shards} shard(s){kind}", _lockstep(problem, chosen, corpus, threads)


def _lockstep(problem: Problem, config: Config, corpus: Corpus, threads: int) -> Callable[[], int]:
    trainer = Trainer(config, task_of(config), corpus, DEVICE)
    batches = BatchLoader(corpus.splits["train"], config.batch)
    choose_pass_size(trainer, batches)
    position = [0]

    def train() -> int:
        set_numerics(threads=threads, deterministic=True, fast_fp32=config.train.fast_fp32)
        start, tokens = position[0], 0
        for shards in batches.steps(start, start + problem.batches):
            trainer.update(trainer.accumulate_gradients(shards))
            tokens += sum(int(shard.lengths.sum()) for shard in shards)
        position[0] += problem.batches
        set_numerics(threads=threads, deterministic=False)
        torch.use_deterministic_algorithms(False)
        return tokens

    return train


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    main(options.threads, options.rounds)
