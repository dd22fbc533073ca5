"""A model whose text is made of two columns, on every way in: a file, a command line, Python, and its ONNX file."""

import csv
import re
from pathlib import Path
from typing import Any

import pytest

import seq
from seq.errors import UserError
from seq.tasks.classification import LoadedClassifier
from tests.helpers import run, run_many

ROWS = [(f"title{number % 5}", f"review of {number % 3}", "good" if number % 5 < 3 else "bad") for number in range(60)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("columns")
    with (folder / "rows.csv").open("w") as file:
        csv.writer(file).writerows([("title", "review", "mood"), *ROWS])
    data = f"data.files.train={folder}/rows.csv data.text=[title,review] data.label=mood data.tokenizer=words"
    model = f"data.validation_fraction=0.1 model.hidden_size=8 batch.shards=2 train.steps=9 logging.wandb=disabled run.output_dir={folder} run.name=two"
    run_many(1, [(None, ["configs/classifier.yaml", *data.split(), *model.split()])])
    return folder


def predict(folder: Path, *words: str | Path) -> tuple[int, str]:
    done = run("python", "-m", "seq.predict", folder / "two", *words)
    return done.returncode, done.stdout or done.stderr


@pytest.mark.slow
def test_one_answer_on_every_way_in(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("mood,review,title\n,review of 1,title2\n")
    model = seq.load(folder / "two")
    assert isinstance(model, LoadedClassifier)
    one: Any = model.probabilities(ROWS[7][:2])  # strings alone are the columns of one text
    expected = {label: pytest.approx(chance, abs=2e-3) for label, chance in one.items()}
    assert model.probabilities({"review": ROWS[7][1], "title": ROWS[7][0], "mood": ""}) == expected
    assert model.probabilities([ROWS[7][:2], ("title1", "other")])[0] == expected
    (script,) = re.findall(
        r"```python\n(import json.*?)```", (folder / "two" / "model" / "README.md").read_text(), re.DOTALL
    )
    (tmp_path / "use.py").write_text(script)
    onnx = tmp_path / "model.onnx"
    assert run("python", "-m", "seq.export", folder / "two", "--output", onnx).returncode == 0
    answers = [
        predict(folder, "title2\treview of 1"),
        predict(folder, "--file", tmp_path / "one.csv"),
        predict(folder, "--file", tmp_path / "one.csv", "--column", "title,review"),
        predict(folder, "--file", tmp_path / "one.csv", "--column", "review,title"),
    ]
    for code, said in answers:
        assert code == 0, said
        assert {label: float(chance) for label, chance in map(str.split, said.split("\t")[-2:])} == expected
    alone = {"PYTHONPATH": "", "PYTHONSAFEPATH": "1"}
    done = run("python", tmp_path / "use.py", onnx, "title2", "review of 1", env=alone)
    assert {label: float(chance) for label, chance in map(str.split, done.stdout.splitlines())} == expected
    assert "give model.onnx and ['title', 'review']" in run("python", tmp_path / "use.py", onnx, "x", env=alone).stderr


@pytest.mark.slow
def test_another_number_of_columns_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("title,review\na,b\n")
    assert predict(folder, "--file", tmp_path / "one.csv", "--column", "title") == (
        2,
        "error: --column title: the model reads 2 columns; write --column title,review\n",
    )
    for text in ("title2", "title2\treview\tmore"):
        code, said = predict(folder, text)
        assert (code, "not the 2 of the model (title, review); write a tab" in said) == (2, True)
    (tmp_path / "lines.txt").write_text("one column\nand another\n")
    code, said = predict(folder, "--file", tmp_path / "lines.txt", "--csv")
    assert (code, said.splitlines()[1:]) == (2, ["one column,,", "and another,,"])
    model = seq.load(folder / "two")
    assert isinstance(model, LoadedClassifier)
    for wrong in ("title2", ["a", "b", "c"], [("a",)], [("a", "b", "c")]):
        with pytest.raises(UserError, match="of the model's columns title, review"):
            model.predict(wrong)
