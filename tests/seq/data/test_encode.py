"""Sequences that are too long, unknown labels, and validation on the end of a text."""

from pathlib import Path

import pytest

from seq.data.corpus import prepare_corpus
from seq.data.encode import frame
from seq.data.tokenizer import BOS, EOS, Tokenizer
from seq.errors import UserError
from tests.corpora import data, texts, write_rows


def test_one_long_document_does_not_validate_on_itself(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("".join(chr(ord("a") + n % 26) for n in range(1000)))
    keys = {"source": "text", "files": {"train": str(tmp_path / "a.txt")}, "unit": "window", "max_length": 10}
    corpus = prepare_corpus(data(**keys), task="write")
    counts = {name: int(split.lengths.sum()) for name, split in corpus.splits.items()}
    assert counts == {"train": 900, "validation": 101}


@pytest.mark.parametrize(
    ("policy", "kept", "note"),
    [
        ("drop", ["Harb", "Sloan"], "2 sequences over 5 tokens: drop"),
        ("truncate", ["Adylo", "Boris", "Harb", "Sloan"], "truncate"),
    ],
)
def test_too_long(tmp_path: Path, policy: str, kept: list[str], note: str) -> None:
    rows = [("Adylov", "r"), ("Sloan", "i"), ("Borisov", "r"), ("Harb", "i")]
    path = str(write_rows(tmp_path, "csv", rows))
    keys = {"source": "csv", "files": {"train": path, "validation": path}, "text": "name", "label": "origin"}
    with pytest.raises(UserError, match=r"train row 1: 6 tokens, more than data\.max_length=5 \(2 such rows"):
        prepare_corpus(data(**keys, max_length=5), task="classify")
    corpus = prepare_corpus(data(**keys, max_length=5, too_long=policy), task="classify")
    assert sorted(texts(corpus, "train")) == kept
    assert note in corpus.notes[0]


def test_label_unseen_in_training(tmp_path: Path) -> None:
    train, test = write_rows(tmp_path, "csv"), write_rows(tmp_path, "csv", [("A", "Irish"), ("B", "Martian")], "test")
    keys = {"source": "csv", "files": {"train": str(train), "test": str(test)}, "text": "name", "label": "origin"}
    with pytest.raises(UserError, match="test row 2: label 'Martian' does not occur in the training data"):
        prepare_corpus(data(**keys), task="classify")


@pytest.mark.parametrize("texts", [["ab", "", "c"], [""]])
def test_frame(texts: list[str]) -> None:
    tokenizer = Tokenizer.train("characters", ["abc"], lowercase=False, min_count=1)
    framed = frame(tokenizer.encode(texts))
    assert framed.lengths.tolist() == [len(text) + 2 for text in texts]
    assert (framed.values[framed.offsets[:-1]] == BOS).all()
    assert (framed.values[framed.offsets[1:] - 1] == EOS).all()
