"""Everything that the report reads from a run directory."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from seq.config import Config
from seq.config.identity import flatten
from seq.config.read import load_config
from seq.errors import UserError
from seq.run.directory import RunDirectory
from seq.run.json_lines import read_lines
from seq.tasks import Task, task_of
from seq.tasks.metrics import table_order

JsonLine = dict[str, Any]
AXES = {"step": "step", "tokens": "tokens seen", "time": "minutes"}
"""The x axes that a curve can have."""

MOST_CLASSES = 25
"""A confusion matrix of more classes shows the largest."""
MOST_LINES = 5000
"""Lines about training steps to read; a curve has far fewer points."""
SAMPLE = ("step", "prompt", "label", "text")
"""Samples that agree in these keys are the same sample."""

REQUIRED = frozenset(
    "split epoch tokens_seen padding_fraction imbalance num_parameters wall_seconds goodput "
    "world_size bad_steps params_sha256 ledger labels confusion classes data".split()
)
"""Keys of `result.json` that the page needs."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    name: str
    has_card: bool
    """Whether there is a model card, `model/README.md`."""
    wandb: str
    """Address of its W&B run; empty if it is offline."""
    config: Config
    task: Task
    result: dict[str, Any]
    """`result.json`; empty while the run has not ended."""
    train: list[JsonLine]
    evaluations: list[JsonLine]
    samples: list[JsonLine]
    bad_steps: list[str]
    """Names of the files about them."""
    corruptions: list[str]
    """Steps in which a device computed wrongly, and which."""

    @classmethod
    def read(cls, path: Path) -> "RunRecord":
        """UserError if there is no run. Of two lines about a step (a resumed run repeats some) the later counts."""
        directory = RunDirectory(path)
        directory.require()
        lines = _later(read_lines(path / "metrics.jsonl", most=MOST_LINES))
        # A step that is done again writes the same texts again.
        written = (line for line in read_lines(path / "samples.jsonl") if "text" in line)
        samples = {tuple(str(line.get(key)) for key in SAMPLE): line for line in written}
        return cls(
            name=path.resolve().name,
            has_card=(path / "model" / "README.md").is_file(),
            wandb=_address(path / "wandb-url"),
            config=(config := load_config(directory.config_file)),
            task=task_of(config),
            result=_complete(directory.result_file, directory.read_result()),
            train=lines["train"],
            evaluations=lines["eval"],
            samples=sorted(samples.values(), key=lambda line: -line["step"]),
            bad_steps=sorted(file.name for file in directory.bad_steps.glob("*.json")),
            corruptions=[f"step {line['step']}: {line.get('where')}" for line in directory.corruptions()],
        )

    def curve(self, figure: str, axis: str, split: str | None = None) -> tuple[list[float], list[float]]:
        """x and y of a figure of the training lines, or of the evaluations of `split`; missing values are left out."""
        lines = self.train if split is None else [line for line in self.evaluations if line.get("split") == split]
        known = [line for line in lines if _is_number(line.get(figure))]
        return self._places(known, axis), [float(line[figure]) for line in known]

    def best_place(self, axis: str) -> float | None:
        """Return the position on the axis of the step whose weights the run kept as its best."""
        best = self.result.get("best")
        lines = [line for line in self.evaluations if best and line["step"] == best["step"]]
        return self._places(lines, axis)[-1] if lines else None

    def _places(self, lines: list[JsonLine], axis: str) -> list[float]:
        if axis == "time":
            return [float(line.get("wall_seconds") or 0) / 60 for line in lines]
        steps = [float(line["step"]) for line in lines]
        seen = [line for line in self.train if _is_number(line.get("tokens_seen"))]
        if axis == "step" or not seen:
            return steps
        # Evaluation lines have no token count; between two training lines the count grows evenly.
        at = np.interp(steps, [line["step"] for line in seen], [line["tokens_seen"] for line in seen])
        return [float(place) for place in at]

    @property
    def final(self) -> dict[str, float]:
        """Figures of the run's last evaluation."""
        found: dict[str, float] = self.result.get("eval", {})
        return found

    @cached_property
    def classes(self) -> list[dict[str, Any]]:
        """The figures of each class, as `table_order` has them; `place` is its row in the confusion matrix."""
        rows = self.result.get("classes") or []
        named = [
            row | {"label": label, "place": place}
            for place, (label, row) in enumerate(zip(self.result.get("labels", []), rows, strict=False))
        ]
        labels, counts = [str(row["label"]) for row in named], [row["support"] for row in named]
        return [named[place] for place in table_order(labels, counts, MOST_CLASSES)]


def _address(file: Path) -> str:
    address = file.read_text("utf-8", errors="replace").strip() if file.is_file() else ""
    return address if address.startswith(("https://", "http://")) else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _complete(path: Path, result: Any) -> dict[str, Any]:
    """UserError if the result lacks a key that the report needs."""
    missing = sorted(REQUIRED - result.keys()) if result else []
    if missing:
        raise UserError(
            f"{path}: has no {missing[0]}: it is damaged, or of an earlier release of lockstep; run it again"
        )
    return result or {}


def _later(lines: Iterable[JsonLine]) -> dict[str, list[JsonLine]]:
    """Keep one line for each event, step and split: the latest."""
    newest: dict[str, dict[tuple[int, str], JsonLine]] = {event: {} for event in ("train", "eval")}
    for line in lines:
        if (of_event := newest.get(str(line.get("event")))) is not None:
            of_event[line["step"], str(line.get("split"))] = line
    return {event: sorted(found.values(), key=lambda line: line["step"]) for event, found in newest.items()}


def differing_values(records: list[RunRecord]) -> dict[str, list[Any]]:
    """Config keys whose values differ between the runs, with the value in each run."""
    trees = [flatten(record.config) for record in records]
    keys = dict.fromkeys(key for tree in trees for key in tree)
    found = {key: [tree.get(key, "") for tree in trees] for key in keys if key not in ("run.name", "run.output_dir")}
    return {key: values for key, values in found.items() if any(value != values[0] for value in values)}
