"""What the report reads from a run directory."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from launch.context import describe_launch
from seq.config import Config
from seq.config.read import dump_config, override_config
from seq.errors import UserError
from seq.report.record import RunRecord
from seq.run.result import describe_environment

NASTY = '<script>alert("x")</script> $\\frac & \u4e2d\u6587'


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "one")


def make_run(folder: Path, *overrides: str) -> Path:
    """A run directory of a classifier with two classes, whose names and texts are hostile."""
    folder.mkdir()
    (folder / "config.yaml").write_text(dump_config(override_config(Config(), overrides, where="test")))
    lines = [
        {
            "event": "train",
            "step": step,
            "loss": 2.0 / step,
            "grad_norm": 1.0,
            "lr": 0.1,
            "tokens_seen": 100 * step,
            "tokens_per_second": 50.0,
            "wall_seconds": 2.0 * step,
        }
        for step in range(1, 11)
    ]
    lines += [
        {
            "event": "eval",
            "step": step,
            "split": "validation",
            "loss": 1.0,
            "accuracy": 0.25,
            "macro_f1": 0.5,
            "wall_seconds": 20.0,
        }
        for step in (5, 10, 10)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    sample = {"step": 5, "prompt": NASTY, "text": NASTY, "known_words": 0.5}
    (folder / "samples.jsonl").write_text(json.dumps(sample) + "\n")
    (folder / "result.json").write_text(json.dumps(a_result()))
    return folder


def a_result() -> dict[str, Any]:
    return {
        "status": "finished", "step": 10, "epoch": 1.5, "world_size": 2, "params_sha256": "f00d" * 16,
        "num_parameters": 1234567, "split": "test", "eval": {"loss": 1.25, "accuracy": 0.75, "macro_f1": 0.7},
        "tokens_seen": 1000, "examples_seen": 100, "padding_fraction": 0.0123, "imbalance": 0.02, "bad_steps": 0,
        "overflow_steps": 0, "wall_seconds": 20.0, "goodput": 0.5, "ledger": {"compute": 10.0, "other": 10.0},
        "confusion": [[5, 2], [1, 4]], "labels": ["plain", NASTY],
        "confused": [{"true": "plain", "predicted": NASTY, "count": 2, "texts": [NASTY, "b"]}],
        "data": {"train": {"rows": 12, "tokens": 60, "edges": [4, 5, 6], "lengths": [7, 5]}},
        "vocab_size": 30, "notes": [NASTY],
        "environment": describe_environment(describe_launch(), torch.device("cpu")),
    }  # fmt: skip


def test_two_samples_after_one_prompt_are_two(run: Path) -> None:
    """And a step that a resumed run did again is there once."""
    lines = [{"step": 3, "prompt": "We", "text": text} for text in (" one", " two", " one")]
    (run / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [line["text"] for line in RunRecord.read(run).samples] == [" one", " two"]


def test_curves_are_over_steps_tokens_and_time(run: Path) -> None:
    record = RunRecord.read(run)
    assert record.curve("accuracy", "step", "validation") == ([5.0, 10.0], [0.25, 0.25])
    assert record.curve("accuracy", "tokens", "validation")[0] == [500.0, 1000.0]
    assert record.curve("loss", "time")[0][:2] == pytest.approx([2 / 60, 4 / 60])
    assert record.curve("nothing", "step") == ([], [])


def test_no_run_is_a_fault_with_advice(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no run .*give a run directory"):
        RunRecord.read(tmp_path)


def test_an_earlier_result_is_a_fault_with_advice(run: Path) -> None:
    result = a_result()
    del result["labels"]
    (run / "result.json").write_text(json.dumps(result))
    with pytest.raises(UserError, match=r"has no labels: it is damaged, or of an earlier release"):
        RunRecord.read(run)
