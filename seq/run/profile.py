"""A trace of some steps (`run.profile`), as torch's profiler writes it: open it in https://ui.perfetto.dev or chrome://tracing."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from torch.profiler import profile

from seq.run.run import Run

Item = TypeVar("Item")


def profiled(run: Run, start: int, steps: Iterable[Item]) -> Iterator[Item]:
    """The items, one for each step after `start`. Rank 0 writes `profile.json` about those that `run.profile` names."""
    first, last = run.config.run.profile or (0, 0)
    trace: profile | None = None
    try:
        for step, item in enumerate(steps, start + 1):
            if trace is None and first <= step <= last and run.is_main:
                trace = profile()
                trace.start()
            elif trace is not None and step == last + 1:
                _write(trace, run)
                trace = None
            yield item
    finally:
        if trace is not None:
            _write(trace, run)


def _write(trace: profile, run: Run) -> None:
    trace.stop()
    trace.export_chrome_trace(file := str(run.directory.path / "profile.json"))
    print(f"profile: {file}", flush=True)
