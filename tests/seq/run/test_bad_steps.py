import json
from pathlib import Path

import pytest

from tests.helpers import run
from tests.runs import result, words


@pytest.mark.slow
def test_bad_steps_are_skipped_by_all_ranks_and_counted(tmp_path: Path) -> None:
    """Infinite losses planted at (step, shard), on one and on two processes; fp32, and fp16 with its own scale."""
    cases = {
        "one": [[5, 1]],
        "first": [[0, 2]],
        "fp16": [[5, 1]],
        "row": [[5, 0], [6, 1], [7, 2], [8, 3]],
        "too-many": [[5, 0], [6, 1], [7, 2], [8, 3], [9, 0]],
        "none": [],
    }
    for size in (1, 2):
        commands = [
            (bad, words(tmp_path, "speeches", "train.max_bad_steps=4", f"run.name={name}-{size}", *precision))
            for name, bad in cases.items()
            for precision in [["train.precision=" + ("fp16" if name == "fp16" else "fp32")]]
        ]
        torchrun = ("torchrun", "--standalone", f"--nproc_per_node={size}")
        done = run(*torchrun, "-m", "tests.faults", "bad_losses", json.dumps(commands))
        assert done.returncode == 0, done.stderr
        assert "ended: the loss or gradient of 5 steps in a row was not finite, up to step 10" in done.stdout
        assert f"their batches are in {tmp_path / f'too-many-{size}'}/bad_steps" in done.stdout
    digests = {
        name: {result(tmp_path / f"{name}-{size}")["params_sha256"] for size in (1, 2)}
        for name in cases
        if name != "too-many"
    }
    assert all(len(found) == 1 for found in digests.values())
    assert len({*digests["one"], *digests["first"], *digests["row"], *digests["none"]}) == 4
    counts = {name: result(tmp_path / f"{name}-2")["bad_steps"] for name in digests}
    assert counts == {"one": 1, "first": 1, "fp16": 1, "row": 4, "none": 0}
    about = json.loads((tmp_path / "one-2" / "bad_steps" / "step-00000006.json").read_text())
    assert [shard["loss"] == "inf" for shard in about["shards"]] == [False, True, False, False]
    assert all("of beer" in row["text"] or len(row["text"]) < 24 for shard in about["shards"] for row in shard["rows"])
    inspected = run("python", "-m", "seq.replay", tmp_path / "one-2", "--step", "6", "--inspect", stdin="")
    assert inspected.returncode == 0, inspected.stderr
    assert about["shards"][1]["rows"][0]["text"][2:8] in inspected.stdout
    assert not (tmp_path / "too-many-2" / "result.json").exists()
