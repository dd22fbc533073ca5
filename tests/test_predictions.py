"""A model of several labels, and one of numbers, from training to use."""

import json
from pathlib import Path

import pytest

import seq
from seq.tasks.multilabel import LoadedMultilabel
from seq.tasks.regression import LoadedRegressor
from tests.helpers import run, run_many
from tests.runs import result, words

pytestmark = pytest.mark.slow

MORE = (
    "train.steps=60",
    "data.validation_fraction=0.3",
    "logging.wandb=offline",
    "logging.report=true",
    "checkpoint.monitor=loss",
    "optimizer.lr=0.02",
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    cases = (("labels", 1), ("labels", 2), ("number", 1))
    commands = [words(folder, kind, *MORE, f"run.name={kind}{seed}", f"run.seed={seed}") for kind, seed in cases]
    run_many(2, [(None, command) for command in commands])
    return folder


def test_several_labels(runs: Path) -> None:
    found = result(runs / "labels1")
    assert set(found["eval"]) == {"loss", "micro_f1", "macro_f1", "exact_match"}
    assert [row["support"] > 0 for row in found["classes"]] == [True] * 3
    model = seq.load(runs / "labels1")
    assert isinstance(model, LoadedMultilabel)
    (chances,) = model.probabilities(["a0"])
    assert model.predict(["a0"]) == [[label for label, chance in chances.items() if chance >= 0.5]]
    done = run("python", "-m", "seq.predict", runs / "labels1", "a0", "bbbb3", "--top", "3")
    assert [len(line.split("\t")) for line in done.stdout.splitlines()] == [4, 4], done.stderr
    exported = seq.load(runs / "labels1" / "model")
    assert isinstance(exported, LoadedMultilabel)
    assert exported.probabilities(["a0"]) == [pytest.approx(chances)]
    both = seq.load([runs / "labels1", runs / "labels2"])
    assert isinstance(both, LoadedMultilabel)
    other = seq.load(runs / "labels2")
    assert isinstance(other, LoadedMultilabel)
    for label, chance in both.probabilities(["a0"])[0].items():
        assert chance == pytest.approx((chances[label] + other.probabilities(["a0"])[0][label]) / 2, abs=1e-6)


def test_a_number(runs: Path) -> None:
    found = result(runs / "number1")
    assert set(found["eval"]) == {"loss", "mse", "mae", "r2"}
    model = seq.load(runs / "number1")
    assert isinstance(model, LoadedRegressor)
    (number,) = model.predict(["a0"])
    done = run("python", "-m", "seq.predict", runs / "number1", "a0")
    assert float(done.stdout.split("\t")[1]) == pytest.approx(number, rel=1e-4)
    about = json.loads((runs / "number1" / "model" / "config.json").read_text())
    assert about["outputs"]["scale"] == pytest.approx(4.95, abs=0.5)


@pytest.mark.parametrize(("name", "shown"), [("labels1", "micro F1"), ("number1", "mean absolute error")])
def test_evaluate_inspect_report_and_export(runs: Path, name: str, shown: str, tmp_path: Path) -> None:
    assert shown in (runs / name / "report.html").read_text()
    done = run("python", "-m", "seq.evaluate", runs / name)
    assert done.returncode == 0, done.stderr
    assert f"{result(runs / name)['eval']['loss']:.4f}" in done.stdout
    done = run("python", "-m", "seq.export", runs / name, "--output", tmp_path / "model.onnx")
    assert done.returncode == 0, done.stderr
    done = run("python", "-m", "seq.inspect", runs / name / "config.yaml")
    assert done.returncode == 0, done.stderr
    assert ("3 classes" if name == "labels1" else "75 %") in done.stdout
    assert "What it" not in (runs / name / "model" / "README.md").read_text()
