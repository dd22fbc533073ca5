"""The doctor's verdict."""

from pathlib import Path

import pytest

from tests.helpers import run
from tests.runs import few_rows

pytestmark = pytest.mark.slow


def test_doctor(tmp_path: Path) -> None:
    tiny = (*few_rows(tmp_path), "batch.rows=4", "model.hidden_size=8")
    well = run("python", "-m", "seq.doctor", "batch.shards=2", *tiny)
    assert well.returncode == 0, well.stderr
    assert "lockstep is kept: 2 world sizes, the same bits." in well.stdout
    ill = run("python", "-m", "seq.doctor", "sync.reduction=allreduce", "batch.shards=3", *tiny)
    assert ill.returncode == 1, ill.stderr
    assert "lockstep is NOT kept. With sync.reduction=ordered it is." in ill.stdout
    faulty = run("python", "-m", "seq.doctor", "data.files.train=rows.csv")
    assert faulty.returncode == 2
    assert faulty.stderr.startswith("error: data.files.train is not read with data.source=names")
    assert "Traceback" not in faulty.stderr
