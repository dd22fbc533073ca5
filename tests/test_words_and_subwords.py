"""Runs on words and subwords, from training to use."""

import re
from pathlib import Path

import pytest

import seq
from seq.data.corpus import prepare_corpus
from seq.tasks import TASKS
from seq.tasks.classification import LoadedClassifier
from seq.tasks.language_modeling import LoadedLanguageModel
from tests.corpora import data, texts
from tests.helpers import run, train
from tests.runs import few_rows, result, words

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["words", "subwords"])
def test_a_run_on_pieces(kind: str, tmp_path: Path) -> None:
    """The same bits on two processes; generate writes what the exported model writes; a text is streamed as it is written."""
    pieces = (f"data.tokenizer={kind}", "data.vocab_size=280", "train.precision=fp32")
    for size in (1, 2):
        done = train(*words(tmp_path, "speeches", *pieces, f"run.name=w{size}"), world_size=size)
        assert done.returncode == 0, done.stderr
    assert result(tmp_path / "w1")["params_sha256"] == result(tmp_path / "w2")["params_sha256"]
    written = []
    for folder in (tmp_path / "w1", tmp_path / "w1" / "model"):
        model = seq.load(folder)
        assert isinstance(model, LoadedLanguageModel)
        written.append(model.generate("9 bottles", length=30))
    assert written[0] == written[1]
    streamed = run("python", "-m", "seq.generate", tmp_path / "w1", "--prime", "9 bottles", "--length", "30")
    assert written[0][0] in streamed.stdout
    shown = run("python", "-m", "seq.inspect", *words(tmp_path, "speeches", *pieces))
    assert re.search(rf"2\d\d {kind} and 4 markers, such as ' bottles'", shown.stdout)


def test_a_classifier_of_words(tmp_path: Path) -> None:
    done = train(*words(tmp_path, "names", "data.tokenizer=words", "run.name=a"), *few_rows(tmp_path))
    assert done.returncode == 0, done.stderr
    for folder in (tmp_path / "a", tmp_path / "a" / "model"):
        model = seq.load(folder)
        assert isinstance(model, LoadedClassifier)
        assert sum(model.probabilities(["never seen"])[0].values()) == pytest.approx(1)


def test_characters_are_counted_alike_by_all_tokenizers(tmp_path: Path) -> None:
    """So bits per character can be compared. No text is lost, and no target counts twice."""
    text = "".join(f"{number} Flaschen für den Fluß.\n\n" for number in range(99))
    (tmp_path / "a.txt").write_text(text)
    keys = {"source": "text", "files": {name: str(tmp_path / "a.txt") for name in ("train", "validation")}}
    for kind in ("characters", "bytes", "words", "subwords"):
        corpus = prepare_corpus(
            data(**keys, unit="document", tokenizer=kind, vocab_size=300), task=TASKS["language_modeling"]
        )
        assert corpus.splits["validation"].num_characters == len(text)
        assert texts(corpus, "validation") == [text]
