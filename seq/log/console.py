"""The run on a terminal: a progress line on a terminal, plain lines in a log file, and the final tables."""

import atexit
import datetime
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from launch.context import describe_launch, restart_command
from seq.tasks import Evaluation, show
from seq.tasks.confusion import Confusion
from seq.tasks.metrics import table_order
from seq.terminal import printable

MOST_CLASSES = 40
"""Most classes in a table; the largest are shown."""
SECONDS_BETWEEN_LINES = 10
"""Between two lines about training steps in a log file. `metrics.jsonl` has all of them."""


class ConsoleSink:
    def __init__(self, folder: Path, total_steps: int) -> None:
        self._folder, self._total_steps = folder, total_steps
        self.console = Console(highlight=False, soft_wrap=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._task = self._progress.add_task("train", total=total_steps, figures="")
        self._progress.start()
        atexit.register(self._progress.stop)  # shows the cursor again after Ctrl-C or an error

    def event(self, event: str, step: int, values: dict[str, Any]) -> None:
        if event in ("start", "resume"):
            self._begin, self._first_step, self._next_line = time.monotonic(), step, 0.0
            self._line(f"{self._folder}: {event}s at step {step} of {self._total_steps}{_about_start(values)}")
        elif event != "train":
            self._line(f"{event:<10} step {step:>6}  {_figures(values)}")
        elif self._progress.disable:
            self._train_line(step, values)
        else:
            self._progress.update(self._task, completed=step, figures=_figures(_brief(values)))

    def _train_line(self, step: int, values: dict[str, Any]) -> None:
        """At the first step that is logged, at the last one, and every few seconds."""
        now = time.monotonic()
        if now < self._next_line and step < self._total_steps:
            return
        self._next_line = now + SECONDS_BETWEEN_LINES
        left = (now - self._begin) / (step - self._first_step) * (self._total_steps - step)
        left_text = datetime.timedelta(seconds=round(left))
        self._line(f"{'train':<10} step {step:>6}/{self._total_steps}  {left_text} left  {_figures(_brief(values))}")

    def evaluation(self, step: int, split: str, result: Evaluation) -> None:
        self._line(f"{'eval':<10} step {step:>6}  {split}  {_figures(result.figures)}")

    def samples(self, step: int, samples: list[dict[str, Any]]) -> None:
        for sample in samples:
            self._line(f"{'sample':<10} step {step:>6}  {sample['prompt'] + sample['text']!r}")

    def close(self, result: dict[str, Any]) -> None:
        self._progress.stop()

    def show_result(self, result: dict[str, Any]) -> None:
        """The final tables and figures."""
        if result["eval"]:
            confusion = None if result["confusion"] is None else Confusion.of(np.array(result["confusion"]))
            evaluation = Evaluation(
                figures=result["eval"], confusion=confusion, classes=result["classes"], parts=result["parts"]
            )
            print_evaluation(f"{self._folder.name}: {result['split']}", evaluation, tuple(result["labels"]))
        print_result(self._folder, result)

    def _line(self, text: str) -> None:
        with suppress(OSError):  # a log file on a full disk
            self.console.print(escape(text))


def print_evaluation(title: str, result: Evaluation, labels: tuple[str, ...]) -> None:
    """The figures of a split; for a classifier also a row for each class, the largest first."""
    console = Console(highlight=False)
    if result.classes is not None:
        console.print(_class_table(f"{title}, by class", result.classes, result.confusion, labels))
    if result.parts:
        console.print(_class_table(f"{title}, by part of a tag", result.parts, None, tuple(map(_part, result.parts))))
    summary = Table(title=escape(title), title_justify="left")
    for name in result.figures:
        summary.add_column(name, justify="right")
    summary.add_row(*(show(name, value) for name, value in result.figures.items()))
    console.print(summary)


def print_result(folder: Path, result: dict[str, Any], *, already: bool = False) -> None:
    """Where the run is, its figures, and how to continue it if a signal stopped it."""
    print(printable("\n".join(_lines_of_result(folder, result, already))))


def _lines_of_result(folder: Path, result: dict[str, Any], already: bool) -> Iterator[str]:
    figures = f"{result['split']} {_figures(result['eval'])}" if result["eval"] else "not yet evaluated"
    yield f"{folder}: {'already ' * already}{result['status']} at step {result['step']}: {figures}"
    if result.get("best"):
        yield "weights of step {step}, the best by {figure} on the validation split ({value:.4f})".format(
            **result["best"]
        )
    if result["status"] == "preempted":
        words = [word for word in sys.argv if word != "--fresh"]
        yield f"stopped by {result['stopped_by']}; go on: {restart_command(describe_launch(), words)}"
    yield f"{result.get('goodput', 0):.0%} of the time was training: {_figures(result.get('ledger', {}))} (seconds)"
    if "floor_share" in result:
        waited = ", ".join(f"{seconds:.1f}" for seconds in result["waiting_seconds"])
        yield (
            f"its matrix products alone, at this hardware's best rate, would take {result['floor_share']:.0%} of the time of compute; "
            f"the processes waited {waited} s for each other"
        )
    yield f"params_sha256 {result['params_sha256']}"


def _class_table(
    title: str, classes: list[dict[str, Any]], confusion: Confusion | None, labels: tuple[str, ...]
) -> Table:
    table = Table(title=escape(title), title_justify="left")
    table.add_column("class")
    for name in ("precision", "recall", "f1", "support", *(["most confused with"] * (confusion is not None))):
        table.add_column(name, justify="right")
    for number in table_order(labels, [row["support"] for row in classes], MOST_CLASSES)[:MOST_CLASSES]:
        row = classes[number]
        scores = (f"{row[name]:.3f}" for name in ("precision", "recall", "f1"))
        confused = [] if confusion is None else [escape(printable(_confused_with(confusion, number, labels)))]
        table.add_row(escape(printable(labels[number])), *scores, str(row["support"]), *confused)
    return table


def _part(row: dict[str, Any]) -> str:
    """Such as `1: A`; a part may be empty."""
    return f"{row['part']}: {row['label'] or 'none'}"


def _confused_with(confusion: Confusion, own: int, labels: tuple[str, ...]) -> str:
    cells = np.flatnonzero((confusion.true == own) & (confusion.predicted != own))
    return labels[confusion.predicted[cells[confusion.counts[cells].argmax()]]] if len(cells) else ""


def _about_start(values: dict[str, Any]) -> str:
    """Data, model and machine, two more lines."""
    rows = dict(values["rows"])
    others = ", ".join(f"{count:,} for {split}" for split, count in rows.items() if split != "train")
    labels = f"{values['labels']:,} labels, " if values["labels"] else ""
    processes = "1 process" if values["world_size"] == 1 else f"{values['world_size']} processes"
    return (
        f"\n  {printable(values['source'])}: {rows['train']:,} rows to train on{others and f' ({others})'}, {labels}"
        f"a vocabulary of {values['vocab_size']:,} tokens\n"
        f"  {values['num_parameters']:,} parameters; {processes} on {values['device']} ({values['hardware']})"
    )


def _brief(values: dict[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in ("loss", "grad_norm", "lr", "tokens_per_second", "padding_fraction")}


def _figures(values: dict[str, Any]) -> str:
    return "  ".join(f"{name} {show(name, value)}" for name, value in values.items() if not isinstance(value, dict))
