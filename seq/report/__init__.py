"""A run, or several side by side, as one HTML file that needs no network: python -m seq.report RUN [RUN ...]."""

from pathlib import Path
from typing import TYPE_CHECKING

from seq.errors import UserError, warn

if TYPE_CHECKING:
    from seq.run.directory import RunDirectory


def write_report(runs: list[Path], output: Path | None = None) -> Path:
    """Writes and returns `output`; by default, `report.html` in the run, or `comparison.html` in the first of several."""
    from jinja2 import TemplateError

    from seq.files import write_atomically
    from seq.report.page import render  # matplotlib takes a while, and a run needs it only at its end
    from seq.report.record import RunRecord

    records = [RunRecord.read(run) for run in runs]
    path = output or runs[0] / ("report.html" if len(runs) == 1 else "comparison.html")
    try:
        page = render(records)
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, TemplateError) as error:
        names = ", ".join(map(str, runs))
        raise UserError(f"{names}: metrics.jsonl, samples.jsonl or result.json is damaged: {error}") from error
    try:
        write_atomically(path, page)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another --output") from None
    return path


def report_at_end(run: "RunDirectory", *, wanted: bool) -> None:
    """The report of a run that is finished, unless it has one: a run may have been killed while its report was written. A
    failure is only a warning."""
    if not wanted or _is_newer(run.path / "report.html", run.result_file):
        return
    try:
        print(f"report: {write_report([run.path])}", flush=True)
    except Exception as error:  # the run is finished and its result is on disk
        warn(f"no report ({type(error).__name__}: {error}); make it with python -m seq.report {run.path}")


def _is_newer(file: Path, other: Path) -> bool:
    return file.exists() and file.stat().st_mtime_ns >= other.stat().st_mtime_ns
