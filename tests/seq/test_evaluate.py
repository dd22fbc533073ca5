from pathlib import Path

import pytest

from tests.helpers import run
from tests.runs import result

pytestmark = pytest.mark.slow


def test_evaluate_is_what_the_run_said_at_any_world_size(names: Path, speeches: Path) -> None:
    loss = result(names)["eval"]["loss"]
    for launcher in (("python",), ("torchrun", "--standalone", "--nproc_per_node=2")):
        done = run(*launcher, "-m", "seq.evaluate", names)
        assert done.returncode == 0, done.stderr
        assert f"{loss:.4f}" in done.stdout
    bits = result(speeches)["eval"]["bits_per_char"]
    assert f"{bits:.4f}" in run("python", "-m", "seq.evaluate", speeches).stdout


def test_evaluate_other_data_with_the_models_own_vocabulary(speeches: Path, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("Zebras & quails? 5 bottles.")
    done = run("python", "-m", "seq.evaluate", speeches, f"data.files.test={tmp_path / 'other.txt'}")
    assert done.returncode == 0, done.stderr
    assert "test" in done.stdout
