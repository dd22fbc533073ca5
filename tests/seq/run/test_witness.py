"""A wrong bit is found before any weight changes, its rank is named, and nothing but time is lost."""

import re
from pathlib import Path

import pytest

from seq.report import write_report
from tests.helpers import run
from tests.runs import invariant, metrics, result, words

pytestmark = pytest.mark.slow
STREAM = ("data.unit=document", "batch.order=stateful", "batch.rows=3", "batch.bptt=9")
CASES = {
    "names": ("names", "batch.shards=6"),
    "stream": ("speeches", *STREAM, "batch.shards=6"),
    "fp16": ("names", "batch.shards=6", "train.precision=fp16"),
}


def _train(folder: Path, case: str, name: str, size: int, fault: str, *settings: str) -> tuple[int, str]:
    command = words(folder, *CASES[case], f"run.name={name}", "sync.witness_every=3", *settings)
    launcher = ("torchrun", "--standalone", f"--nproc_per_node={size}") if size > 1 else ("python",)
    program = ("-m", "tests.faults", "compute_wrongly", fault) if fault else ("train_ddp.py",)
    done = run(*launcher, *program, *command)
    return done.returncode, done.stderr


@pytest.mark.parametrize("case", ["names", "stream"])
def test_comparing_changes_no_bit(case: str, tmp_path: Path) -> None:
    for size, every in ((1, 0), (1, 3), (2, 3), (3, 1)):
        code, said = _train(tmp_path, case, f"{size}-{every}", size, "", f"sync.witness_every={every}")
        assert code == 0, said
        found = invariant(tmp_path / f"{size}-{every}")
        assert {**found, "result": None} == {**invariant(tmp_path / "1-0"), "result": None}
        assert result(tmp_path / f"{size}-{every}")["corruptions"] == []


@pytest.mark.parametrize(
    "case", ["names", *(pytest.param(case, marks=pytest.mark.extended) for case in ("stream", "fp16"))]
)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_step_is_done_again(case: str, size: int, tmp_path: Path) -> None:
    assert _train(tmp_path, case, "right", 1, "")[0] == 0
    code, said = _train(tmp_path, case, "found", size, "6 once", "sync.on_corruption=continue")
    assert code == 0, said
    (event,) = metrics(tmp_path / "found", "corruption")
    assert (event["step"], event["repeated"]) == (6, False)
    assert "output.weight" in event["tensors"].split(", ")
    assert re.fullmatch(r"rank \d \(host .*, CPU \d\)", event["where"])
    assert result(tmp_path / "found")["corruptions"] == [
        {name: value for name, value in event.items() if name not in ("event", "wall_seconds")}
    ]
    for name in ("params_sha256", "eval", "step"):
        assert result(tmp_path / "found")[name] == result(tmp_path / "right")[name]


def test_numbers_that_are_not_finite_accuse_nobody(tmp_path: Path) -> None:
    """Which bits a NaN has depends on the shape of a product."""
    wild = ("optimizer.lr=1e4", "optimizer.warmup_steps=0", "train.max_bad_steps=100", "sync.witness_every=1")
    code, said = _train(tmp_path, "fp16", "wild", 1, "", *wild, "checkpoint.monitor=null")
    assert code == 0, said
    assert result(tmp_path / "wild")["bad_steps"] + result(tmp_path / "wild")["overflow_steps"] > 0
    assert result(tmp_path / "wild")["corruptions"] == []


def test_the_run_ends(tmp_path: Path) -> None:
    """Then the same command goes on, from the checkpoint before."""
    assert _train(tmp_path, "names", "right", 1, "")[0] == 0
    code, said = _train(tmp_path, "names", "run", 1, "6 once")
    assert code == 3
    assert "error: rank 0: step 6: rank 0 (host " in said
    assert (result(tmp_path / "run")["status"], result(tmp_path / "run")["step"]) == ("corrupted", 5)
    code, said = _train(tmp_path, "names", "run", 3, "9 always", "sync.on_corruption=continue")
    assert code == 1  # torchrun's
    assert "It did so twice, so the steps before may be wrong too. Start the run again without this machine" in said
    assert [event["repeated"] for event in metrics(tmp_path / "run", "corruption")] == [False, True]
    assert _train(tmp_path, "names", "run", 2, "")[0] == 0
    assert result(tmp_path / "run")["params_sha256"] == result(tmp_path / "right")["params_sha256"]
    assert [event["step"] for event in result(tmp_path / "run")["corruptions"]] == [6, 9]  # of all starts
    written = write_report([tmp_path / "run"], tmp_path / "report.html").read_text()
    assert "step 9: rank" in written


def test_two_that_differ_always_are_both_named(tmp_path: Path) -> None:
    """Also by the first shard, which is right in this test."""
    code, said = _train(tmp_path, "names", "run", 2, "6 always")
    assert code == 1
    assert re.search(r"step 6: rank 0 \(host .*\) or rank 1 \(host .*\) computed wrongly", said)
    assert metrics(tmp_path / "run", "corruption")[0]["certain"] is False
