"""The learning-rate range test: what it suggests, and that it trains nothing that is kept."""

from pathlib import Path

import pytest

from seq.diagnose.lr_range import HIGHEST, LOWEST, LrRange
from tests.helpers import run
from tests.runs import few_rows


def test_the_suggestion_is_below_the_rate_of_the_lowest_loss() -> None:
    found = LrRange(rates=[1e-4, 1e-3, 1e-2, 1e-1], losses=[3.0, 2.5, 1.0, 4.0])
    assert found.suggestion == pytest.approx(1e-2 / 3, rel=0.05)
    assert found.table().row_count == 4


@pytest.mark.slow
def test_the_program(tmp_path: Path) -> None:
    done = run("python", "-m", "seq.inspect", "--lr", *few_rows(tmp_path), f"run.output_dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "learning-rate range test" in done.stdout
    said = float(done.stdout.partition("try optimizer.lr=")[2].split()[0])
    assert LOWEST / 3 <= said <= HIGHEST
    assert not (tmp_path / "names").exists()
