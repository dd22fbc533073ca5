"""The page: figures, curves and tables of the runs, put into the template, which escapes all text."""

import itertools
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from seq.config.read import dump_tree
from seq.report.charts import COLOURS, Curve, bar_chart, line_chart, reliability_chart
from seq.report.record import AXES, MOST_CLASSES, RunRecord, differing_values
from seq.run.environment import without_folders
from seq.tasks import METRICS, Metric, show
from seq.tasks.metrics import TRAINING

MOST_SAMPLES = 60
"""The newest; the others are in samples.jsonl."""
NOT_DRAWN = ("loss", "perplexity", "window_loss")
"""Figures of an evaluation that only repeat another curve."""
FACTS = {
    "status": "status",
    "split": "figures of the split",
    "step": "steps",
    "num_parameters": "parameters",
    "tokens_seen": "tokens seen",
    "wall_seconds": "wall time, s",
    "goodput": "share of time computing",
    "world_size": "processes",
}
"""Readable names for keys of a result."""
CAUSES = ("compute", "data", "sync", "evaluation", "sampling", "checkpoint", "startup", "lost", "other")


def render(records: list[RunRecord]) -> str:
    """One self-contained HTML page."""
    several = len(records) > 1
    headlines = [
        metric.name for metric in metrics_of(records) if any(metric.name in record.final for record in records)
    ]
    return _template().render(
        title=" / ".join(record.name for record in records),
        records=records,
        runs=[_run(record) for record in records],
        axes=AXES,
        charts={axis: [Markup(chart) for chart in charts(records, axis) if chart] for axis in AXES},
        differing=differing_values(records) if several else {},
        headlines=headlines,
        compared=_compared(records, headlines) if several else [],
        tasks=sorted({record.task.name.replace("_", " ") for record in records}),
        facts=FACTS,
        metrics=METRICS,
        show=show,
    )


def metrics_of(records: list[RunRecord]) -> list[Metric]:
    """The metrics of these runs' evaluations, each once; losses come last."""
    found = {metric.name: metric for record in records for metric in record.task.metrics}
    return sorted(found.values(), key=lambda metric: "loss" in metric.name)


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "share": lambda value: f"{value:.1%}"}
    return environment.get_template("page.html")


def charts(records: list[RunRecord], axis: str) -> list[str]:
    """The same charts over steps, tokens or time. One run has a colour for each split; several have one for each run."""
    evaluated = {name for record in records for line in record.evaluations for name in line}
    loss = [_curves(records, "loss", axis, split) for split in (None, "validation")]
    drawn = [line_chart(METRICS["loss"].label, AXES[axis], [*loss[0], *loss[1]])]
    for metric in (each for each in metrics_of(records) if each.name in evaluated and each.name not in NOT_DRAWN):
        title = f"validation: {metric.title}"
        drawn.append(line_chart(title, AXES[axis], _curves(records, metric.name, axis, "validation")))
    for metric in (metric for metric in TRAINING if metric.name not in ("step_loss", "padding_fraction")):
        curves = _curves(records, metric.name, axis, None)
        drawn.append(line_chart(metric.label, AXES[axis], curves, log=metric.name == "grad_norm"))
    return drawn


def _curves(records: list[RunRecord], figure: str, axis: str, split: str | None) -> list[Curve]:
    found: list[Curve] = []
    for colour, record in zip(itertools.cycle(COLOURS), records, strict=False):
        x, y = record.curve(figure, axis, split)
        alone = len(records) == 1
        label = (split or "train") if alone else f"{record.name} {split or ''}".strip()
        shade = COLOURS[1] if alone and split else colour
        same = any((x, y) == (other.x, other.y) for other in found)
        best = record.best_place(axis) if alone and split else None
        found.append(Curve(label=label, x=x, y=y, colour=shade, marked=split is not None, dashed=same, best=best))
    return found


def _compared(records: list[RunRecord], headlines: list[str]) -> list[dict[str, Any]]:
    """A row for each figure: its value in each run, whether it is the best, and by how much it differs from the best."""
    rows = []
    for name in headlines:
        values = [record.final.get(name) for record in records]
        known = [value for value in values if value is not None]
        best = (max if METRICS[name].better == "higher" else min)(known)
        cells = [
            {
                "shown": "" if value is None else show(name, value),
                "best": value == best and len(set(known)) > 1,
                "difference": "" if value is None or value == best else f"{value - best:+.4f}",
            }
            for value in values
        ]
        rows.append({"title": METRICS[name].title, "cells": cells})
    return rows


def _run(record: RunRecord) -> dict[str, Any]:
    """The template's values for one run."""
    result, ledger = record.result, record.result.get("ledger", {})
    return {
        "record": record,
        "result": result,
        "config": dump_tree(without_folders(record.config.model_dump(mode="json")), allow_unicode=True),
        "matrix": _matrix(record),
        "errors": result.get("errors", {}),
        "calibration": Markup(_calibration_chart(result)),
        "ledger": [(cause, ledger[cause], COLOURS[place % len(COLOURS)]) for place, cause in _causes(ledger)],
        "lengths": [Markup(chart) for chart in _length_charts(result.get("data", {}))],
        "samples": [
            (step, list(rows))
            for step, rows in itertools.groupby(record.samples[:MOST_SAMPLES], lambda row: row["step"])
        ],
    }


def _causes(ledger: dict[str, float]) -> list[tuple[int, str]]:
    return [(place, cause) for place, cause in enumerate(CAUSES) if ledger.get(cause, 0) > 0]


def _calibration_chart(result: dict[str, Any]) -> str:
    bins = result.get("calibration") or []
    if len(bins) < 2:
        return ""
    claimed, true = ([row[name] for row in bins] for name in ("claimed", "true"))
    return reliability_chart(f"{result['split']}: are its probabilities true?", claimed, true)


def _length_charts(data: dict[str, Any]) -> list[str]:
    return [
        bar_chart(f"{name}: {split['rows']:,} rows by length", "time steps", split["edges"], split["lengths"])
        for name, split in data.items()
        if name == "train" and max(split["lengths"]) < 0.9 * sum(split["lengths"])  # one bar says nothing
    ]


def _matrix(record: RunRecord) -> list[list[tuple[int, float]]]:
    """(count, share of its row) of the largest classes, in the order of `record.classes`."""
    shown = [row["place"] for row in record.classes[:MOST_CLASSES]]
    cells = record.result.get("confusion")
    if not cells:
        return []
    return [[(cells[true][guess], cells[true][guess] / max(1, sum(cells[true]))) for guess in shown] for true in shown]


def number(value: Any) -> str:
    """Format a number for display: 1,234,567; 0.7511; 12.3."""
    if not isinstance(value, float) or value.is_integer():
        return f"{value:,.0f}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4g}"
