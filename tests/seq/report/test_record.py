"""What the report reads from a run directory."""

import json
from pathlib import Path

import pytest

from seq.errors import UserError
from seq.report.record import RunRecord
from tests.seq.report.test_page import a_result


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
    with pytest.raises(UserError, match=r"no run .*train one first"):
        RunRecord.read(tmp_path / "none")


def test_an_earlier_result_is_a_fault_with_advice(run: Path) -> None:
    result = a_result()
    del result["labels"]
    (run / "result.json").write_text(json.dumps(result))
    with pytest.raises(UserError, match=r"has no labels: it is damaged, or of an earlier release"):
        RunRecord.read(run)
