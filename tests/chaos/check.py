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
    *("checkpoint.keep=2", "checkpoint.best=null"),
)
KINDS: dict[str, tuple[str, ...]] = {
    "names": ("batch.shards=8", "logging.wandb=offline"),
    "speeches": ("batch.shards=4", "data.unit=document", "batch.order=stream", "batch.rows=3", "batch.window=20"),
    "tagger": ("batch.shards=4", "model.ngram_buckets=64", "model.num_layers=2"),
    "transducer": ("batch.shards=4", "train.teacher_forcing_end=0.5", "logging.wandb=offline"),
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
    check(run)
    return run.kind


def check(run: Run) -> None:
    """AssertionError unless the run ended as the run that nobody disturbed."""
    found, reference = result(run.directory), run.kind.reference
    assert found["status"] == "finished"
    for key in ("step", "params_sha256", "eval", "tokens_seen", "examples_seen"):
        assert found[key] == reference[key], f"{key} differs"
    assert abs(sum(found["ledger"].values()) - found["wall_seconds"]) < 0.02 * found["wall_seconds"], "ledger"
    check_steps(run.lines(), reference["step"])
    if run.kind.logs_to_wandb:
        steps = [row["step"] for row in wandb_history(run.directory) if "train/loss" in row]
        assert steps == list(range(1, reference["step"] + 1)), "W&B does not have each step once"


def check_steps(lines: Sequence[dict[str, Any]], last_step: int) -> None:
    """Every step is there; one that was done twice says the same twice, and the second time after a `resume`."""
    by_step: dict[int, list[float]] = {}
    last, rewound = 0, True
    for line in lines:
        rewound |= line["event"] in ("start", "resume")
        if line["event"] == "train":
            assert line["step"] == last + 1 or (rewound and line["step"] <= last + 1), "a step out of order"
            by_step.setdefault(line["step"], []).append(line["loss"])
            last, rewound = line["step"], False
    assert sorted(by_step) == list(range(1, last_step + 1)), "steps missing in metrics.jsonl"
    assert all(len(set(losses)) == 1 for losses in by_step.values()), "a step done twice differs"
