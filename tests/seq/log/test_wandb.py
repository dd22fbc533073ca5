"""W&B has what metrics.jsonl has."""

import json
from pathlib import Path
from typing import Any

import pytest
import wandb

from seq.config import Config
from seq.log.wandb import _history
from seq.log.wandb_run import open_wandb_run
from seq.run.json_lines import JsonLines
from tests.helpers import train
from tests.runs import few_rows, metrics, result, words
from tests.wandb_file import wandb_history, wandb_records


def test_history_for_wandb_has_each_step_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = JsonLines(path)
    for start in (0, 2):
        for step in range(start + 1, start + 4):
            lines.write({"event": "train", "step": step, "loss": step + start / 10, "wall_seconds": 1.0})
        lines.write({"event": "eval", "step": start + 3, "split": "validation", "loss": 9.0, "wall_seconds": 1.0})
        lines.write({"event": "resume", "step": 2})
    assert _history(path, 4) == {
        1: {"train/loss": 1.0},
        2: {"train/loss": 2.0},
        3: {"train/loss": 3.2, "validation/loss": 9.0},
        4: {"train/loss": 4.2},
    }


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_resumed_run_is_the_same_wandb_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(wandb, "init", lambda **options: calls.append(options))
    for _ in range(2):
        open_wandb_run(tmp_path, Config(), mode)
    first, again = ((call["id"], call["resume"], call["mode"]) for call in calls)
    assert first == again
    assert first[1:] == ("allow", mode)


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["", "../../elsewhere", "x" * 2000, "two\nlines", b"\xff\xfe"])
def test_an_id_that_wandb_would_refuse_is_replaced(
    tmp_path: Path, kept: str | bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wandb-id").write_bytes(kept if isinstance(kept, bytes) else kept.encode())
    run = open_wandb_run(tmp_path, Config(), "offline")
    assert "not an id of W&B" in capsys.readouterr().err
    assert run.id == (tmp_path / "wandb-id").read_text() != kept
    assert Path(run.dir).is_relative_to(tmp_path)
    run.finish()


@pytest.mark.slow
def test_wandb_has_what_metrics_jsonl_has(names: Path, speeches: Path) -> None:
    for folder, split in ((names, "test"), (speeches, "validation")):
        records = list(wandb_records(folder))
        history = wandb_history(folder)
        logged = {row["step"]: row["train/loss"] for row in history if "train/loss" in row}
        assert logged == {line["step"]: line["loss"] for line in metrics(folder, "train")}
        (final,) = [row for row in history if row["step"] == 12 and f"{split}/loss" in row]
        assert final[f"{split}/loss"] == result(folder)["eval"]["loss"]
        key = "samples/path" if folder is speeches else "test/confusion_table/path"
        tables = [folder / "wandb" / "latest-run" / "files" / row[key] for row in history if key in row]
        assert len(tables) == (2 if folder is speeches else 1)
        cells = json.loads(tables[-1].read_text())["data"]
        if folder is names:
            assert sum(count for _, _, count in cells) == 5696
            (classes,) = [row["test/classes/path"] for row in history if "test/classes/path" in row]
            rows = json.loads((folder / "wandb" / "latest-run" / "files" / classes).read_text())["data"]
            assert sum(support for *_, support, _ in rows) == 5696
            (curves,) = [row[key] for row in history if (key := "test/precision_recall_table/path") in row]
            points = json.loads((folder / "wandb" / "latest-run" / "files" / curves).read_text())["data"]
            assert len({label for label, _, _ in points}) == 18
            assert all(0 <= figure <= 1 for _, *pair in points for figure in pair)
            (mistakes,) = [row["test/mistakes/path"] for row in history if "test/mistakes/path" in row]
            examples = json.loads((folder / "wandb" / "latest-run" / "files" / mistakes).read_text())["data"]
            assert len(examples) == sum(len(pair["texts"]) for pair in result(folder)["confused"])
            kept = [record.artifact.name for record in records if record.WhichOneof("record_type") == "artifact"]
            assert {"names-model", "names-checkpoint"} <= set(kept)
        else:
            samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
            assert cells == [[sample["step"], "", sample["prompt"], sample["text"], ""] for sample in samples]
        (started,) = {record.run.run_id for record in records if record.WhichOneof("record_type") == "run"}
        assert started == (folder / "wandb-id").read_text()


@pytest.mark.slow
def test_what_wandb_says_of_a_run(names: Path) -> None:
    found, records = result(names), list(wandb_records(names))
    summary: dict[str, object] = {}
    for record in records:
        if record.WhichOneof("record_type") == "summary":
            summary |= {item.key: json.loads(item.value_json) for item in record.summary.update if item.key}
    for key in ("epoch", "num_parameters", "world_size", "data_fingerprint", "params_sha256"):
        assert summary[key] == found[key], key
    assert summary["command"] == found["environment"]["command"]
    assert summary["git_commit"] == found["environment"]["git_commit"]
    assert summary["best/accuracy"] == max(
        line["accuracy"] for line in metrics(names, "eval") if line["split"] == "validation"
    )
    assert summary["best/loss"] == min(line["loss"] for line in metrics(names, "eval") if line["split"] == "validation")
    artifacts = {record.artifact.name: record.artifact for record in records if record.HasField("artifact")}
    assert {"latest", "step-12"} <= set(artifacts["names-model"].aliases)
    about = json.loads(artifacts["names-model"].metadata)
    assert about["accuracy"] == found["eval"]["accuracy"]
    assert about["params_sha256"] == found["params_sha256"]
    log = (names / "wandb" / "latest-run" / "files" / "output.log").read_text()
    assert "eval       step     12  test" in log


@pytest.mark.slow
@pytest.mark.extended
def test_alerts_tags_and_variables(tmp_path: Path) -> None:
    env = {"WANDB_MODE": "offline", "WANDB_PROJECT": "mine", "WANDB_ENTITY": "us", "WANDB_RUN_GROUP": "of-env"}
    keys = ("logging.wandb=null", "logging.alerts=all", "logging.tags=[a,b]", "logging.notes=why", "logging.group=g")
    command = words(
        tmp_path, "names", *few_rows(tmp_path), "run.name=a", *keys, "optimizer.lr=1e30", "train.max_bad_steps=99"
    )
    done = train(*command, env=env)
    assert done.returncode == 0, done.stderr
    records = list(wandb_records(tmp_path / "a"))
    (begun,) = [record.run for record in records if record.HasField("run")]
    assert (begun.project, begun.entity, begun.run_group, list(begun.tags), begun.notes) == (
        "mine",
        "us",
        "g",
        ["a", "b"],
        "why",
    )
    alerts = [record.alert for record in records if record.HasField("alert")]
    assert "was not finite" in alerts[0].text
    assert [alerts[-1].title, alerts[-1].level] == ["a", "INFO"]
    assert alerts[-1].text.startswith("finished at step 12")
    off = train(
        *words(tmp_path, "names", *few_rows(tmp_path), "run.name=b", "logging.wandb=null"),
        env={"WANDB_MODE": "disabled"},
    )
    assert off.returncode == 0
    assert not (tmp_path / "b" / "wandb").exists()
