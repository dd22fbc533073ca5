"""`seq.inspect`: what it announces is what training does."""

from pathlib import Path

import pytest

from seq.inspect import duration
from tests.helpers import run
from tests.runs import metrics, result, words

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["names", "speeches"])
def test_it_announces_what_training_does(kind: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(kind)
    done = run("python", "-m", "seq.inspect", *words(folder.parent, kind))
    assert done.returncode == 0, done.stderr
    found = result(folder)
    assert f"{found['num_parameters']:,} parameters" in done.stdout
    assert f"{found['data']['train']['tokens']:,}" in done.stdout
    assert "12 in all; a step has 4 shards" in done.stdout
    assert "time: " in done.stdout
    of_the_run = run("python", "-m", "seq.inspect", folder)  # by its directory
    assert f"{found['num_parameters']:,} parameters" in of_the_run.stdout, of_the_run.stderr
    if kind == "names":
        assert "Portuguese" in done.stdout
        assert metrics(folder, "train")  # and a run of its own was not touched by it
        per_epoch = found["step"] / found["epoch"]
        assert f"batches: {per_epoch:,.0f} steps an epoch" in done.stdout


def test_what_training_refuses_it_refuses(tmp_path: Path) -> None:
    done = run("python", "-m", "seq.inspect", "data.max_length=3", "batch.tokens=64")
    assert done.returncode == 2
    assert "more than data.max_length=3" in done.stderr


def test_durations() -> None:
    assert [duration(seconds) for seconds in (3.2, 119, 120, 7199, 7200)] == [
        "3 s",
        "119 s",
        "2 min",
        "120 min",
        "2.0 h",
    ]
