"""Timings that can be compared: the ways in turn, round by round, and then ratios of medians."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

WARM_UP = 2


def in_turn(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way in each round. Which one comes first changes from round to round."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + WARM_UP):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            begin = time.perf_counter()
            ways[name]()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if number >= WARM_UP:
                seconds[name].append(time.perf_counter() - begin)
    return seconds


def ratio(seconds: Mapping[str, list[float]], base: str, way: str) -> tuple[float, float, float]:
    """How many times faster `way` is than `base`, round by round: lower quartile, median, upper quartile."""
    ratios = [slow / fast for slow, fast in zip(seconds[base], seconds[way], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return low, middle, high


class Report:
    """A table on the terminal, and the same as JSON in `benchmark-<what>.json`."""

    def __init__(self, what: str, title: str, columns: list[str]) -> None:
        self.what, self.columns, self.rows = what, columns, list[list[Any]]()
        self._table = Table(*columns, title=title, title_justify="left")

    def add(self, *values: Any) -> None:
        self.rows.append(list(values))
        self._table.add_row(*(f"{value:,.3g}" if isinstance(value, float) else str(value) for value in values))

    def show(self, folder: Path = Path(".")) -> None:
        Console(width=130).print(self._table)
        path = folder / f"benchmark-{self.what}.json"
        about = {"what": self.what, "columns": self.columns, "rows": self.rows, "machine": machine()}
        path.write_text(json.dumps(about, indent=1))
        print(f"written to {path}")


def machine() -> dict[str, Any]:
    """What the figures hold for."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"processor": _processor(), "cores": os.cpu_count(), "gpu": gpu, "torch": torch.__version__}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()
