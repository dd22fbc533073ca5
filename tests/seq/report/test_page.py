"""The report: what it says, and that it needs nothing but itself."""

import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from launch.context import describe_launch
from seq.config import Config
from seq.config.read import dump_config, override_config
from seq.report import write_report
from seq.report.page import number, render
from seq.report.record import RunRecord, differing_values
from seq.run.environment import describe_environment
from seq.tasks.confusion import Confusion, per_class

NASTY = '<script>alert("x")</script> $\\frac & \u4e2d\u6587'


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
    sample = {"step": 5, "prompt": NASTY, "text": NASTY, "truth": NASTY}
    (folder / "samples.jsonl").write_text(json.dumps(sample) + "\n")
    (folder / "result.json").write_text(json.dumps(a_result()))
    return folder


def a_result() -> dict[str, Any]:
    return {
        "status": "finished", "step": 10, "epoch": 1.5, "world_size": 2, "params_sha256": "f00d" * 16,
        "num_parameters": 1234567, "split": "test", "eval": {"loss": 1.25, "accuracy": 0.75, "macro_f1": 0.7},
        "errors": {"accuracy": 0.125, "macro_f1": 0.13}, "tokens_seen": 1000, "examples_seen": 100, "padding_fraction": 0.0123, "imbalance": 0.02, "bad_steps": 0,
        "overflow_steps": 0, "wall_seconds": 20.0, "goodput": 0.5, "ledger": {"compute": 10.0, "other": 10.0},
        "confusion": [[5, 2], [1, 4]], "classes": per_class(Confusion.of(np.array([[5, 2], [1, 4]]))), "labels": ["plain", NASTY],
        "confused": [{"true": "plain", "predicted": NASTY, "count": 2, "texts": [NASTY, "b"]}],
        "data": {"train": {"rows": 12, "tokens": 60, "edges": [4, 5, 6], "lengths": [7, 5]}},
        "vocab_size": 30, "notes": [NASTY],
        "environment": describe_environment(describe_launch(), torch.device("cpu")),
    }  # fmt: skip


class Page(HTMLParser):
    """Tags, attributes and text, as a browser has them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, *names: str) -> Iterator[str]:
        yield from (
            value for _, attributes in self.tags for name, value in attributes.items() if name in names and value
        )


def test_the_page_has_the_numbers_of_the_run(run: Path) -> None:
    page = Page(render([RunRecord.read(run)]))
    shown = {
        attributes["data-figure"]: attributes["data-value"]
        for _, attributes in page.tags
        if "data-figure" in attributes
    }
    assert {name: float(value or "") for name, value in shown.items()} == a_result()["eval"]
    for text in ("0.7500", "1,234,567", "f00d" * 16, "1.23%", "compute 10 s (50.0%)", "torch"):
        assert text.replace("0.7500", "0.75") in page.text
    # precision 5 / 6, recall 5 / 7 of the first class
    assert "0.833" in page.text
    assert "0.714" in page.text


def test_text_of_the_data_is_escaped_and_nothing_is_fetched(run: Path) -> None:
    html = render([RunRecord.read(run)])
    page = Page(html)
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.text.count(NASTY) >= 6  # note, labels, pair, example, prompt and sample
    # The only addresses are places in the page itself, and the names of XML's own dialects.
    assert [
        value for value in page.values("src", "href", "xlink:href", "action") if not value.startswith(("#", "data:,"))
    ] == []
    assert re.findall(r"url\((?!#)[^)]*\)|@import", html) == []


def test_the_same_run_gives_the_same_page(run: Path) -> None:
    assert render([RunRecord.read(run)]) == render([RunRecord.read(run)])


def test_a_run_that_goes_on_has_a_report_too(run: Path) -> None:
    (run / "result.json").unlink()
    assert "has not ended yet" in render([RunRecord.read(run)])
    (run / "metrics.jsonl").unlink()
    assert "has not ended yet" in render([RunRecord.read(run)])


def test_runs_side_by_side(run: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "two", "optimizer.lr=0.5", "run.name=two")
    records = [RunRecord.read(path) for path in (run, other)]
    assert differing_values(records) == {"optimizer.lr": [2e-3, 0.5]}
    page = Page(render(records))
    assert "optimizer.lr" in page.text
    assert {"one validation", "two validation"} <= {line.strip() for line in page.text.splitlines()}
    assert "stroke-dasharray" in render(records)  # equal curves: the second is dashed
    result = a_result()
    (other / "result.json").write_text(json.dumps(result | {"eval": result["eval"] | {"accuracy": 0.5}}))
    html = render([RunRecord.read(path) for path in (run, other)])
    assert '<td class="best">0.7500</td><td>0.5000 <small class="soft">-0.2500</small></td>' in html
    assert "different tasks" not in html
    third = make_run(tmp_path / "three", "model.target=number", "run.name=three")
    html = render([RunRecord.read(path) for path in (run, third)])
    assert "These runs have different tasks (classification, regression)" in html
    assert 'class="best"' not in html
    assert write_report([run, other]) == run / "comparison.html"


def test_how_sure_the_figures_are(run: Path) -> None:
    page = Page(render([RunRecord.read(run)]))
    assert "\u00b1 0.1250" in page.text


def test_curves_say_their_values_and_the_best_step(run: Path) -> None:
    (run / "result.json").write_text(
        json.dumps(a_result() | {"best": {"step": 5, "figure": "accuracy", "value": 0.25}})
    )
    (run / "model").mkdir()
    (run / "model" / "README.md").write_text("# card")
    (run / "wandb-url").write_text("https://wandb.ai/us/lockstep/runs/1")
    html = render([RunRecord.read(run)])
    page = Page(html)
    assert "validation: 0.25 at step 5" in page.text
    assert "best step" in page.text
    assert "the best by accuracy" in " ".join(page.text.split())
    assert {"model/README.md", "https://wandb.ai/us/lockstep/runs/1"} <= set(page.values("href"))
    (run / "wandb-url").write_text("javascript:alert(1)")
    assert "javascript" not in render([RunRecord.read(run)])


def test_numbers_are_as_people_read_them() -> None:
    shown = [number(value) for value in (1234567, 0.75113, 1234.5, 12.0, "text", 0.00012346, True)]
    assert shown == ["1,234,567", "0.7511", "1,234.5", "12", "text", "0.0001235", "True"]


def test_lines_that_lack_something_are_gaps(run: Path) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        for line in (
            {"event": "train", "step": 11},
            {"event": "eval", "step": 11, "split": [], "loss": None},
        ):
            file.write(json.dumps(line) + "\n")
    (run / "samples.jsonl").write_text(json.dumps({"step": 3}) + "\n")
    record = RunRecord.read(run)
    assert len(record.curve("loss", "tokens")[0]) == 10
    assert "<svg" in render([record])


@pytest.mark.slow
def test_every_finished_run_has_a_report(names: Path, speeches: Path) -> None:
    for folder, words in ((names, ("Most confused", "Polish")), (speeches, ("Samples",))):
        page = Page((folder / "report.html").read_text())
        result = json.loads((folder / "result.json").read_text())
        for word in (*words, result["params_sha256"], "Where the time went", result["environment"]["command"]):
            assert word in page.text
        assert "model/README.md" in set(page.values("href"))
    copied = shutil.copytree(names, names.parent / "copied")
    assert write_report([copied]).read_text().count("<svg") == (names / "report.html").read_text().count("<svg")
