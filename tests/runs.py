"""Small runs, and what they wrote."""

import json
from pathlib import Path
from typing import Any

TINY = (
    *("batch.tokens=256", "batch.rows=8", "train.steps=12", "optimizer.warmup_steps=2", "logging.every_steps=1"),
    *("evaluation.every_steps=6", "checkpoint.every_steps=4", "model.hidden_size=8", "model.embedding_dim=8"),
    "logging.report=false",
)
PROMPTS = 'generation.prompts=["My fellow"]'


def words(folder: Path, kind: str, *more: str) -> list[str]:
    """A small run of either kind, as a command line."""
    text = folder / "text.txt"
    text.write_text("".join(f"{n} bottles of beer on the wall.\n\n" for n in range(99, 0, -1)))
    source = ["data.source=names"] if kind != "speeches" else ["data.source=text", f"data.files.train={text}"]
    source += ["model.ngram_buckets=64"]
    if kind == "speeches":
        source += [
            "data.subset=null",
            "data.unit=paragraph",
            "batch.order=bucketed",
            f"data.files.validation={text}",
            "data.max_length=24",
            "generation.length=20",
            PROMPTS,
        ]
    return [f"configs/{kind}.yaml", *source, *TINY, f"run.output_dir={folder}", "logging.wandb=disabled", *more]


def metrics(folder: Path, event: str | None = None) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if event in (None, line["event"])]


def result(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found
