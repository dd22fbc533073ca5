"""Does a long run grow? Memory, threads, file descriptors and disk of a run of many small steps, with evaluations, samples,
checkpoints and W&B, as a table and as a curve.

python -m benchmarks.long_run [--steps N] [CONFIG] [section.key=value ...]
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.timing import Report
from seq.command_line import exit_code
from seq.report.charts import COLOURS, Curve, line_chart
from seq.run.json_lines import last_lines
from seq.terminal import progress_bar

TRAINER = Path(__file__).parent.parent / "train_ddp.py"
SMALL = (
    *("batch.shards=1", "batch.rows=4", "model.hidden_size=16", "model.embedding_dim=8", "model.num_layers=1"),
    *("generation.length=12", "logging.wandb=offline", "logging.report=false"),
)
POINTS = 100
EVENTS = 1000
"""Evaluations, samples and checkpoints: W&B keeps its last 100 tables in memory, and those are all there after a tenth."""
COLUMNS = ("trainer MB", "W&B MB", "threads", "descriptors", "checkpoints MB", "logs MB", "W&B files MB")
RECORDS = ("logs MB", "W&B files MB")
"""They grow with what they record; the curve has the others."""


def main(arguments: list[str]) -> int:
    steps = int(arguments.pop(arguments.index("--steps") + 1)) if "--steps" in arguments else 100_000
    words = [word for word in arguments if word != "--steps"] or ["name_generator"]
    with tempfile.TemporaryDirectory() as folder:
        rows = watch(start(words, steps, Path(folder)), Path(folder) / "run", steps)
    report = Report("long_run", f"{steps:,} steps", ["step", *COLUMNS])
    for row in rows:
        report.add(*row)
    report.show()
    Path("benchmark-long_run.svg").write_text(curves(rows))
    print(growth(rows))
    return 0


def start(words: list[str], steps: int, folder: Path) -> subprocess.Popen[bytes]:
    often = max(1, steps // EVENTS)
    every = [f"evaluation.every_steps={often}", f"checkpoint.every_steps={often}", f"train.steps={steps}"]
    place = [f"run.output_dir={folder}", "run.name=run"]
    command = [sys.executable, str(TRAINER), *words, *SMALL, *every, *place]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def watch(process: subprocess.Popen[bytes], run: Path, steps: int) -> list[list[float]]:
    """A row for each hundredth of the run: the step, and what `COLUMNS` says."""
    rows: list[list[float]] = []
    for point in progress_bar(range(1, POINTS), "hundredths of the run"):
        while (step := last_step(run / "metrics.jsonl")) < point * steps / POINTS:
            if process.poll() is not None:
                raise RuntimeError("the run has ended early; see its messages")
            time.sleep(0.2)
        rows.append([step, *look(psutil.Process(process.pid), run)])
    if process.wait():
        raise RuntimeError("the run has failed; see its messages")
    return rows


def last_step(metrics: Path) -> int:
    return max((line["step"] for line in last_lines(metrics)), default=0)


def look(trainer: psutil.Process, run: Path) -> list[float]:
    others = sum(child.memory_info().rss for child in trainer.children(recursive=True))
    own = [trainer.memory_info().rss / 1e6, others / 1e6, trainer.num_threads(), trainer.num_fds()]
    logs = sum(file.stat().st_size for file in run.glob("*.jsonl"))
    return [*own, size(run / "checkpoints"), logs / 1e6, size(run / "wandb")]


def size(folder: Path) -> float:
    """Megabytes of all files; one that is deleted meanwhile counts nothing."""
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.lstat().st_size
        except FileNotFoundError:
            continue
    return total / 1e6


def growth(rows: list[list[float]]) -> str:
    """What each column is at the end, as a multiple of what it was after a tenth."""
    begin, end = rows[len(rows) // 10], rows[-1]
    return "the last hundredth against the tenth: " + ", ".join(
        f"{name} x {late / early:.2f}" if early else f"{name} {late:.1f}"
        for name, early, late in zip(COLUMNS, begin[1:], end[1:], strict=True)
    )


def curves(rows: list[list[float]]) -> str:
    """What must not grow, as a multiple of its value after a tenth, over the steps from there on."""
    rows = rows[len(rows) // 10 :]
    lines = [
        Curve(label=name, x=[row[0] for row in rows], y=[row[column] / rows[0][column] for row in rows], colour=colour)
        for column, (name, colour) in enumerate(zip(COLUMNS, COLOURS, strict=False), 1)
        if name not in RECORDS and rows[0][column]
    ]
    return line_chart("as a multiple of the value after a tenth of the run", "step", lines)


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
