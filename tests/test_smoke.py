"""`make smoke`: the promise in half a minute. Two new processes give the bits of one, also after a kill and a resume."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.helpers import run, train
from tests.runs import few_rows, invariant, losses_by_step, words

pytestmark = pytest.mark.slow


def test_one_process_two_and_a_resume(tmp_path: Path) -> None:
    command = [
        *words(tmp_path, "names", "model.num_layers=2", "model.dropout=0.2", "batch.rows=5"),
        *few_rows(tmp_path),
    ]

    def alone() -> None:
        done = train(*command, "run.name=one", forked=False)
        assert done.returncode == 0, done.stderr

    def killed_and_resumed() -> None:
        killed = run("python", "-m", "tests.faults", "die_after_save", "8", *command, "run.name=resumed", forked=False)
        assert killed.returncode == 9, killed.stderr
        done = train(*command, "run.name=resumed", world_size=2, forked=False)
        assert done.returncode == 0, done.stderr

    def together() -> None:
        done = train(*command, "run.name=two", world_size=2, forked=False)
        assert done.returncode == 0, done.stderr

    with ThreadPoolExecutor(2) as pool:
        for started in [pool.submit(start) for start in (killed_and_resumed, alone, together)]:
            started.result()
    one = tmp_path / "one"
    assert invariant(tmp_path / "two") == invariant(one)
    assert invariant(tmp_path / "resumed")["result"] == invariant(one)["result"]
    assert losses_by_step(tmp_path / "resumed") == losses_by_step(one)
