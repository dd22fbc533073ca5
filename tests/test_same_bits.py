"""The promise, on real torchrun processes: the same bits at any number of processes, killed, resumed and replayed.

Here processes are forks of one that has imported torch. Forks share the order of their sets of strings, so tests/test_smoke.py starts
new processes, and `make test-all` does so for every case.
"""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from launch.seeding import fast_fp32_error
from seq.training.precision import FAST_FP32_LIMIT
from tests.helpers import run, run_many, train
from tests.runs import few_rows, invariant, losses_by_step, result, words

pytestmark = pytest.mark.slow


SIZES = (1, 2, 5)
FAST_FP32 = ("train.fast_fp32=true",) if fast_fp32_error() <= FAST_FP32_LIMIT else ()
"""Refused by processors with AMX, whose fast products are not fp32."""
CASES = {
    # Bidirectional, dropout of every kind, clipping that bites, rows that V does not divide.
    "names": ("names", "model.num_layers=2", "model.dropout=0.2", "train.clip_grad_norm=0.1", "batch.rows=5"),
    "names-bf16": (
        *("names", "train.precision=bf16", "model.dropout=0.2", "model.num_layers=2", "batch.tokens=64"),
        "batch.shards=12",  # no power of two, and uneven at 5 and 8 processes
    ),
    "labels": ("labels", "train.precision=bf16", "batch.rows=5", "logging.every_steps=5"),
    "tagger": ("tagger", "train.precision=bf16", "batch.rows=5", "model.num_layers=2", "train.class_weights=0.3"),
    "seq2seq": ("seq2seq", "train.precision=bf16", "batch.rows=5", "model.num_layers=2", "evaluation.beam=2"),
    "seq2seq, scheduled": (
        "seq2seq",
        "train.teacher_forcing_end=0.2",
        "batch.rows=7",
        "train.label_smoothing=0.1",
    ),
    "number": ("number", "model.dropout=0.2", "model.num_layers=2", "batch.rows=5"),
    "speeches": (
        *("speeches", "model.num_layers=2", "model.dropout=0.2", "train.precision=fp32", "train.clip_grad_norm=0.1"),
        *("model.path=scan", *FAST_FP32),
    ),
    "speeches-bf16": ("speeches", "train.precision=bf16", "train.teacher_forcing=0.5", "batch.tokens=64"),
    # Lanes that end documents in the middle of a step, and the epoch in the middle of the run.
    "stream": (
        *("speeches", "data.unit=document", "batch.order=stateful", "batch.rows=3", "batch.bptt=20"),
        *("model.num_layers=2", "model.dropout=0.2", "train.precision=fp32"),
    ),
    # 99 paragraphs of one document, 1 sequence: fewer than shards.
    "few": ("speeches", "data.unit=chunk", "data.max_length=4000", "batch.tokens=5000", "train.steps=4"),
}


def command(folder: Path, case: str, size: int) -> list[str]:
    kind, *settings = CASES[case]
    return words(
        folder, kind, "batch.shards=8", "logging.digests=true", *settings, f"run.name={case.replace(', ', '-')}-{size}"
    )


def everything(folder: Path, case: str, size: int) -> dict[str, object]:
    """What the run wrote down, and its last checkpoint, which holds nothing of a rank."""
    path = folder / f"{case.replace(', ', '-')}-{size}"
    state: dict[str, Any] = torch.load(sorted((path / "checkpoints").glob("step-*"))[-1], weights_only=True)
    del state["ledger"], state["config"]["run"]["name"]
    return invariant(path) | {"checkpoint": json.dumps(state, default=lambda tensor: tensor.tolist(), sort_keys=True)}


def assert_equal(runs: dict[int, dict[str, object]]) -> None:
    for size, found in runs.items():
        for key, value in runs[1].items():
            assert found[key] == value, f"{key} at {size} processes"


@pytest.mark.parametrize("case", CASES)
def test_same_bits_at_every_world_size(case: str, tmp_path: Path) -> None:
    """Each case has its own launches, so that a case which fails is one failure."""
    for size in SIZES:
        done = train(*command(tmp_path, case, size), world_size=size)
        assert done.returncode == 0, done.stderr
    assert_equal({size: everything(tmp_path, case, size) for size in SIZES})


@pytest.mark.extended
def test_same_bits_in_new_processes(tmp_path: Path) -> None:
    sizes = (1, 2, 4, 5, 8)
    for size in sizes:
        run_many(size, [(None, command(tmp_path, case, size)) for case in CASES], forked=False)
    for case in CASES:
        assert_equal({size: everything(tmp_path, case, size) for size in sizes})


def test_plain_allreduce_does_not_keep_it_but_trains(tmp_path: Path) -> None:
    """The test above can fail: with DDP's own sum, the last bits depend on the world size."""
    digests = set()
    for world_size in (1, 4):
        command = words(tmp_path, "names", "sync.reduction=allreduce", f"run.name=w{world_size}")
        done = train(*command, "sync.compress=bf16" if world_size == 4 else "run.seed=1", world_size=world_size)
        assert done.returncode == 0, done.stderr
        digests.add(result(tmp_path / f"w{world_size}")["params_sha256"])
    assert len(digests) == 2


def test_killed_and_resumed_on_other_world_sizes(tmp_path: Path) -> None:
    """A chain of kills: each start has another world size, and dies right after its first or second checkpoint."""
    command = words(
        tmp_path, "names", *few_rows(tmp_path), "checkpoint.every_steps=1", "model.num_layers=2", "model.dropout=0.2"
    )
    whole = train(*command, "run.name=whole")
    assert whole.returncode == 0, whole.stderr
    expected = invariant(tmp_path / "whole")["result"]
    random.seed(1)
    sizes = [1, 3, 4, 2, 1, 3, 1]
    for stop, world_size in zip(sorted(random.sample(range(1, 12), len(sizes))), sizes, strict=True):
        launcher = ["torchrun", "--standalone", f"--nproc_per_node={world_size}"] if world_size > 1 else ["python"]
        killed = run(*launcher, "-m", "tests.faults", "die_after_save", str(stop), *command, "run.name=chain")
        assert killed.returncode in (1, 9), killed.stderr
        assert sorted((tmp_path / "chain" / "checkpoints").iterdir())[-1].name == f"step-{stop:08d}.pt"
    assert train(*command, "run.name=chain", world_size=2).returncode == 0
    assert invariant(tmp_path / "chain")["result"] == expected
    assert losses_by_step(tmp_path / "chain") == losses_by_step(tmp_path / "whole")


@pytest.mark.parametrize("part", [0, pytest.param(1, marks=pytest.mark.extended)])
def test_stopped_anywhere_and_resumed_on_another_world_size(part: int, tmp_path: Path) -> None:
    """20 random cases of (step, processes before, processes after), in both orders and of both kinds that no order concerns, with
    checkpoints every 3 steps; `make test` has the first ten."""
    random.seed(2)
    cases = [(random.randint(3, 11), *random.sample([1, 2, 3, 4], 2)) for _ in range(20)][part * 10 : (part + 1) * 10]
    settings = ("checkpoint.every_steps=3", "logging.every_steps=5", "model.num_layers=2", "model.dropout=0.2")
    orders = {
        "bucketed": words(tmp_path, "names", *settings, *few_rows(tmp_path), "batch.rows=5"),
        "stream": words(tmp_path, *CASES["stream"], *settings),
        "tagger": words(tmp_path, *CASES["tagger"], *settings),
        "seq2seq": words(tmp_path, *CASES["seq2seq, scheduled"], *settings),
    }
    order_of = [list(orders)[number % len(orders)] for number in range(len(cases))]
    commands = [[*orders[order], f"run.name=case{number}"] for number, order in enumerate(order_of)]
    run_many(1, [(None, [*command, f"run.name={order}"]) for order, command in orders.items()])
    for size in (1, 2, 3, 4):
        chosen: list[tuple[int | None, list[str]]] = [
            (case[0], command) for case, command in zip(cases, commands, strict=True) if case[1] == size
        ]
        run_many(size, chosen)
    assert not list(tmp_path.glob("case*/result.json"))
    for size in (1, 2, 3, 4):
        chosen = [(None, command) for case, command in zip(cases, commands, strict=True) if case[2] == size]
        run_many(size, chosen)
    for number, (stop, before, after) in enumerate(cases):
        expected = invariant(tmp_path / order_of[number])["result"]
        found = invariant(tmp_path / f"case{number}")["result"]
        assert found == expected, f"{order_of[number]}: stopped after step {stop} on {before}, resumed on {after}"
        # The mean over five steps, of which some were before the stop.
        assert losses_by_step(tmp_path / f"case{number}") == losses_by_step(tmp_path / order_of[number])
