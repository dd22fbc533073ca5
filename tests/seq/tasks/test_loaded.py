"""`seq.load`: a run's model in three lines of Python."""

import json
import shutil
from pathlib import Path

import pytest

import seq
from seq.errors import UserError
from seq.tasks.classification import LoadedClassifier
from seq.tasks.language_modeling import LoadedLanguageModel
from tests.helpers import run

pytestmark = pytest.mark.slow


def test_classifier(names: Path, tmp_path: Path) -> None:
    model = seq.load(str(names))
    assert isinstance(model, LoadedClassifier)
    texts = ["Adylov", "Sloan", "O"]
    chances = model.probabilities(texts)
    assert model.predict(texts) == [next(iter(row)) for row in chances]
    assert all(sum(row.values()) == pytest.approx(1) and set(row) == set(model.labels) for row in chances)
    printed = run("python", "-m", "seq.predict", names, *texts, "--top", "1").stdout
    assert [line.split("\t")[1].split()[0] for line in printed.splitlines()] == model.predict(texts)
    assert model.predict("Sloan") == model.predict(texts)[1]
    assert model.probabilities("Sloan") == pytest.approx(chances[1])
    with pytest.raises(UserError, match="text 2 of 2 is empty"):
        model.predict(["Sloan", " "])
    # The exported folder alone is enough, wherever it is.
    copied = seq.load(shutil.copytree(names / "model", tmp_path / "model"))
    assert isinstance(copied, LoadedClassifier)
    assert copied.probabilities(texts) == chances


def test_language_model(speeches: Path, generator: Path) -> None:
    model = seq.load(str(speeches))
    assert isinstance(model, LoadedLanguageModel)
    two = model.generate("99 bottles", num=2, length=12, temperature=0.9, seed=3)
    assert len(two) == 2
    assert two == model.generate("99 bottles", num=2, length=12, temperature=0.9, seed=3)
    with pytest.raises(UserError, match=r"generation\.lengths: unknown key; did you mean generation\.length\?"):
        model.generate("99", lengths=3)
    by_label = seq.load(str(generator / "model"))
    assert isinstance(by_label, LoadedLanguageModel)
    assert by_label.generate(label="Irish", length=9)
    with pytest.raises(UserError, match="there are Arabic"):
        by_label.generate(label="Elvish")


def test_damaged_or_missing(names: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run with a checkpoint"):
        seq.load(str(tmp_path))
    copied = shutil.copytree(names / "model", tmp_path / "model")
    about = json.loads((copied / "config.json").read_text())
    for content in ("", "{}", json.dumps(about | {"outputs": about["outputs"] | {"labels": ["a"]}})):
        (copied / "config.json").write_text(content)
        with pytest.raises(UserError, match=r"damaged|not a checkpoint"):
            seq.load(str(copied))
