"""Which runs are disturbed, and what must be true at their end."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from tests.chaos.run import SAVE_EVERY, Kind, Run
from tests.runs import few_rows, result, words
from tests.wandb_file import wandb_history

STEPS = 120
SETTINGS = (
    *("batch.tokens=128", f"train.steps={STEPS}", "optimizer.warmup_steps=10", "logging.every_steps=1"),
    *("model.hidden_size=16", "model.dropout=0.2", "evaluation.every_steps=40", f"checkpoint.every_steps={SAVE_EVERY}"),
    *("checkpoint.keep=2", "checkpoint.monitor=null", "logging.wandb=offline", "logging.report=true"),
)
KINDS: dict[str, tuple[str, ...]] = {
    "names": ("batch.shards=8",),
    "speeches": ("batch.shards=4", "data.unit=document", "batch.order=stateful", "batch.rows=3", "batch.bptt=20"),
    "tagger": ("batch.shards=4", "model.ngram_buckets=64", "model.num_layers=2"),
    "seq2seq": ("batch.shards=4", "train.teacher_forcing_end=0.5"),
}
SIZES = {"batch.shards=4": (1, 1, 1, 2, 2, 2, 3, 4), "batch.shards=8": (1, 1, 2, 2, 2, 3, 5)}
"""Numbers of processes, as often as they are drawn."""


def prepare(folder: Path, kind: str, *more: str) -> Kind:
    """The data, and the run that nobody disturbs."""
    home = folder / kind
    home.mkdir()
    rows = few_rows(home) if kind == "names" else []
    command = words(home, kind, *rows, *SETTINGS, *KINDS[kind], *more)
    run = Run("reference", home, Random(0), Kind(command, SIZES[KINDS[kind][0]]))
    run.finish(size=2)
    run.kind.reference = result(run.directory)
    run.kind.losses = {line["step"]: line["loss"] for line in run.lines() if line["event"] == "train"}
    assert sorted(run.kind.losses) == list(range(1, run.kind.reference["step"] + 1))
    check(run)
    return run.kind


def check(run: Run) -> None:
    """AssertionError unless the run ended as the run that nobody disturbed."""
    found, reference = result(run.directory), run.kind.reference
    assert found["status"] == "finished"
    for key in ("step", "params_sha256", "eval", "tokens_seen", "examples_seen"):
        assert found[key] == reference[key], f"{key} differs"
    assert abs(sum(found["ledger"].values()) - found["wall_seconds"]) < 0.02 * found["wall_seconds"], "ledger"
    check_steps(run.lines(), run.kind.losses, last_only=run.had_wrong_data)
    steps = [row["step"] for row in wandb_history(run.directory) if "train/loss" in row]
    assert steps == list(range(1, reference["step"] + 1)), "W&B does not have each step once"


def check_steps(lines: Sequence[dict[str, Any]], losses: dict[int, float], *, last_only: bool) -> None:
    """Every step is there, in its order, with the loss of the run that nobody disturbed; a step comes twice only after a `resume`.
    `last_only`: where it came twice, only the last time counts."""
    found: dict[int, float] = {}
    last, rewound = 0, True
    for line in lines:
        rewound |= line["event"] in ("start", "resume")
        if line["event"] == "train":
            step = line["step"]
            assert step == last + 1 or (rewound and step <= last + 1), "a step out of order"
            assert last_only or found.get(step, line["loss"]) == line["loss"], "a step done twice differs"
            found[step] = line["loss"]
            last, rewound = step, False
    assert found == losses, "steps missing in metrics.jsonl, or with another loss"
