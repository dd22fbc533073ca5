"""A run, or several side by side, as one HTML file that needs no network: python -m seq.report RUN [RUN ...]."""

from pathlib import Path

from seq.errors import UserError, warn
from seq.run.directory import write_atomically


def write_report(runs: list[Path], output: Path | None = None) -> Path:
    """Writes and returns `output`; by default, `report.html` in the run, or `comparison.html` in the first of several."""
    from seq.report.page import render  # matplotlib takes a while, and a run needs it only at its end
    from seq.report.record import RunRecord

    records = [RunRecord.read(run) for run in runs]
    path = output or runs[0] / ("report.html" if len(runs) == 1 else "comparison.html")
    try:
        write_atomically(path, render(records))
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another --output") from None
    return path


def report_at_end(run: Path) -> None:
    """The report of a run that has just finished. A failure is only a warning."""
    try:
        print(f"report: {write_report([run])}", flush=True)
    except Exception as error:  # the run is finished and its result is on disk
        warn(f"no report ({type(error).__name__}: {error}); make it with python -m seq.report {run}")
