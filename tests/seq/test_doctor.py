"""The doctor's verdict."""

from pathlib import Path

import pytest
import torch

from tests.helpers import run

pytestmark = pytest.mark.slow


def few_rows(folder: Path) -> list[str]:
    """Overrides for a small table instead of all names: the evaluations of many runs take their time."""
    rows = folder / "rows.csv"
    rows.write_text("text,label\n" + "".join(f"{'ab'[n % 2] * (n % 7 + 1)}{n},{n % 3}\n" for n in range(120)))
    return ["data.source=csv", f"data.files.train={rows}"]


def test_doctor(tmp_path: Path) -> None:
    tiny = (*few_rows(tmp_path), "batch.rows=4", "model.hidden_size=8")
    well = run("python", "-m", "seq.doctor", "batch.shards=2", *tiny)
    assert well.returncode == 0, well.stderr
    assert "lockstep is kept: 2 world sizes, the same bits." in well.stdout
    ill = run("python", "-m", "seq.doctor", "sync.reduction=allreduce", *tiny)
    assert ill.returncode == 1, ill.stderr
    assert "lockstep is NOT kept. With sync.reduction=ordered it is." in ill.stdout
    faulty = run("python", "-m", "seq.doctor", "data.files.train=rows.csv")
    assert faulty.returncode == 2
    assert faulty.stderr.startswith("error: data.files.train is not read with data.source=names")
    assert "Traceback" not in faulty.stderr


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gpu_keeps_lockstep(precision: str) -> None:
    """One process, and two (that share the card if there is one only)."""
    done = run("python", "-m", "seq.doctor", "configs/names.yaml", f"train.precision={precision}")
    assert done.returncode == 0, done.stdout + done.stderr
