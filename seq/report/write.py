"""Write the page to its file."""

from pathlib import Path

from seq.errors import UserError, warn
from seq.training.run_directory import write_atomically


def write_report(runs: list[Path], output: Path | None = None) -> Path:
    """The file written: `output`, or for one run its own `report.html`, for several `comparison.html` in the first."""
    from seq.report.page import render  # matplotlib takes a while, and a run needs it at its end, on rank 0
    from seq.report.record import RunRecord

    records = [RunRecord.read(run) for run in runs]
    path = output or runs[0] / ("report.html" if len(runs) == 1 else "comparison.html")
    try:
        write_atomically(path, render(records))
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another --output") from None
    return path


def report_at_end(run: Path) -> None:
    """The report of a run that has just ended, which must not fail for want of a picture."""
    try:
        print(f"report: {write_report([run])}", flush=True)
    except Exception as error:  # whatever it is, the run is finished and its result is on disk
        warn(f"no report ({type(error).__name__}: {error}); make it with python -m seq.report {run}")
