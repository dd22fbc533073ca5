"""The programs in benchmarks/ run, and print what they measured. Their figures are not tested."""

import json
from pathlib import Path

import pytest

from tests.helpers import ROOT, run

pytestmark = [pytest.mark.slow, pytest.mark.extended]

TINY = "data.source=csv data.files.train=rows.csv model.hidden_size=8 model.ngram_buckets=64".split()
PROGRAMS = {
    "sync": ["benchmarks.sync", *TINY, "batch.rows=2"],
    "prepare": ["benchmarks.prepare", "--text", "3e5", "--rows", "2000"],
    "shipped": ["benchmarks.shipped", "pronunciation", "--rounds", "2"],
    "plan": ["benchmarks.plan", "--sequences", "1e6", "--ranks", "8"],
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_runs(name: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\n" + "".join(f"{'ab' * (n % 9)}c{n},{n % 3}\n" for n in range(2000)))
    done = run("python", "-m", *PROGRAMS[name], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / f"benchmark-{name}.json").read_text())
    assert report["rows"]
    assert all(len(row) == len(report["columns"]) for row in report["rows"])
    assert str(report["rows"][0][0]) in done.stdout
