"""Comparable timings: the variants run in turn, round by round; then ratios, round by round."""

import json
import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from seq.run.environment import cpu_name
from seq.terminal import progress_bar

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
WARM_UP = 2
"""Rounds that are not counted."""


def in_turn(
    variants: Mapping[str, Callable[[], object]], rounds: int, before: Callable[[], object] = lambda: None
) -> dict[str, list[float]]:
    """Seconds of each variant in each round. Every second round runs them in reverse order. `before` is called before each
    variant and is not timed."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in progress_bar(range(rounds + WARM_UP), "rounds"):
        for name in list(variants)[:: 1 if number % 2 else -1]:
            before()
            begin = time.perf_counter()
            variants[name]()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if number >= WARM_UP:
                seconds[name].append(time.perf_counter() - begin)
    return seconds


def ratio(seconds: Mapping[str, list[float]], base: str, variant: str) -> tuple[float, float, float]:
    """How many times faster `variant` is than `base`, round by round: lower quartile, median, upper quartile."""
    ratios = [slow / fast for slow, fast in zip(seconds[base], seconds[variant], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return low, middle, high


class Report:
    """A table on the terminal, and the same as JSON in `benchmark-<what>.json`."""

    def __init__(self, what: str, title: str, columns: list[str]) -> None:
        self.what, self.columns, self.rows = what, columns, list[list[Any]]()
        self._table = Table(*columns, title=title, title_justify="left")

    def add(self, *values: Any) -> None:
        self.rows.append(list(values))
        # The table comes at the end; a run that is stopped before has shown its rows.
        print(self.what, json.dumps(list(values)), flush=True)
        self._table.add_row(*(f"{value:,.3g}" if isinstance(value, float) else str(value) for value in values))

    def show(self) -> None:
        Console(width=130).print(self._table)
        path = Path(f"benchmark-{self.what}.json")
        about = {"what": self.what, "columns": self.columns, "rows": self.rows, "machine": machine()}
        path.with_suffix(".part").write_text(json.dumps(about, indent=1))
        path.with_suffix(".part").replace(path)  # never half a file, if a time limit ends the program here
        print(f"written to {path}")


def machine() -> dict[str, Any]:
    """The machine that the figures are for."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"processor": cpu_name(), "cores": os.cpu_count(), "gpu": gpu, "torch": torch.__version__}
