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
    """A small run, as a command line. `kind`: a config, or `labels` or `number`, what a classifier predicts, `tagger`, or `seq2seq`."""
    if kind == "seq2seq":
        pairs = folder / "pairs.csv"
        sources = [str(n * n % 1000) for n in range(1, 90)]  # some come twice, with different targets
        sounds = [" ".join("abcdefghij"[int(digit)] + str(n % 2) for digit in text) for n, text in enumerate(sources)]
        pairs.write_text("text,label\n" + "".join(f"{text},{own}\n" for text, own in zip(sources, sounds, strict=True)))
        more = ("data.source=csv", f"data.files.train={pairs}", 'evaluation.ignore="01"', "data.max_length=8", *more)
        kind = "pronunciation"
    if kind == "tagger":
        rows = folder / "tagged.jsonl"
        texts = [[n * k % 13 for k in range(n % 9 + 1)] for n in range(1, 100)]
        tags = [[f"{'aA'[number % 2]}|{'.,'[number % 3 == 0]}" for number in text] for text in texts]
        lines = [{"text": list(map(str, text)), "label": own} for text, own in zip(texts, tags, strict=True)]
        rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
        more = ("data.source=json", f"data.files.train={rows}", "data.subset=null", "data.max_length=6", *more)
        more, kind = ("checkpoint.monitor=null", *more), "punctuation"
    if kind in ("labels", "number"):
        more = (*few_rows(folder), f"model.target={kind}", f"data.label={kind}", *more)
        kind = "names"
    text = folder / "text.txt"
    text.write_text("".join(f"{n} bottles of beer on the wall.\n\n" for n in range(99, 0, -1)))
    source = ["data.source=names"] if kind != "speeches" else ["data.source=text", f"data.files.train={text}"]
    source += ["model.ngram_buckets=64"] if kind != "pronunciation" else []
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


def losses_by_step(folder: Path) -> dict[int, float]:
    """The losses of training. A resumed run writes the steps after its checkpoint again; their later lines count."""
    return {line["step"]: line["loss"] for line in metrics(folder, "train")}


def result(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def few_rows(folder: Path) -> list[str]:
    """Overrides for a small table instead of all names: the evaluations of many runs take their time."""
    rows = folder / "rows.csv"
    lines = (f"{'ab'[n % 2] * (n % 7 + 1)}{n},{n % 3},{';'.join('xyz'[: n % 4])},{n / 7}\n" for n in range(120))
    rows.write_text("text,label,labels,number\n" + "".join(lines))
    return ["data.source=csv", f"data.files.train={rows}"]


def invariant(folder: Path) -> dict[str, object]:
    """Everything that a run writes down, but for times, throughputs and where it ran."""
    times = (
        *("tokens_per_second", "world_size", "device", "hardware", "wall_seconds", "ledger", "goodput"),
        *("environment", "floor_share", "waiting_seconds"),
    )
    events = [{key: value for key, value in line.items() if key not in times} for line in metrics(folder)]
    # A checkpoint is written in the background, so its line may come a step later.
    events.sort(key=lambda line: (line["event"] == "checkpoint", line["step"]))
    final = {key: value for key, value in result(folder).items() if key not in times}
    samples = folder / "samples.jsonl"
    digests = folder / "digests.jsonl"
    return {
        "events": events,
        "result": final,
        "samples": samples.read_text() if samples.exists() else None,
        "digests": digests.read_text() if digests.exists() else None,
    }
