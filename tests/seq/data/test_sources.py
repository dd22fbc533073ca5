"""Sources of every kind, and the faults that they can have."""

from pathlib import Path

import numpy as np
import pytest

from seq.data.corpus import prepare_corpus
from seq.errors import UserError
from seq.tasks import TASKS
from tests.corpora import ROWS, data, texts, write_rows


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
@pytest.mark.parametrize("as_folder", [False, True])
def test_tables(tmp_path: Path, kind: str, as_folder: bool) -> None:
    path = write_rows(tmp_path, kind)
    write_rows(tmp_path, kind, ROWS[:2], "test")
    where = (
        {"source": str(tmp_path)}
        if as_folder
        else {"source": kind, "files": {"train": str(path), "test": str(tmp_path / f"test.{kind}")}}
    )
    corpus = prepare_corpus(data(**where, text="name", label="origin", tokenizer="bytes"), task=TASKS["classification"])
    assert corpus.labels == ("Irish", "Russian")
    # "NA", "null" and "007" are names like any other.
    assert {*texts(corpus, "train"), *texts(corpus, "validation")} == {name for name, _ in ROWS}
    assert texts(corpus, "test") == ["Adylov", "Sloan"]
    labels = corpus.splits["test"].targets
    assert isinstance(labels, np.ndarray)
    assert labels.tolist() == [1, 0]


def test_text_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\r\n\r\ntwo\n\nthree\n")
    (tmp_path / "b.txt").write_text("four\n\nfive")
    for where in ({"source": "text", "files": {"train": str(tmp_path / "*.txt")}}, {"source": str(tmp_path)}):
        corpus = prepare_corpus(data(**where, unit="paragraph", tokenizer="bytes"), task=TASKS["language_modeling"])
        # The text is so short that one piece validates, its end; each sequence has the token before it in front.
        assert texts(corpus, "train") == ["one\n\n", "\ntwo\n\n", "\nthree\n", "four\n\n"]
        assert texts(corpus, "validation") == ["\nfive"]
        assert corpus.notes[-1:] == ("validation: 1 piece(s) of the training text, 5 of 28 tokens",)


def test_keys_that_would_be_ignored_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    for keys, message in (
        ({"files": {"train": "my.csv"}}, "data.files.train is not read with data.source=names"),
        ({"source": str(tmp_path), "subset": "x"}, "data.subset is not read with data.source="),
        ({"source": "speeches", "revision": "x"}, "data.revision is not read with data.source=speeches"),
        ({"subset": "x"}, "names has no subsets"),
        ({"source": "speeches", "subset": "recent"}, "such as since-1934"),
    ):
        with pytest.raises(UserError, match=message):
            prepare_corpus(data(**keys), task=TASKS["language_modeling"])


def _fault(tmp_path: Path, name: str, content: bytes, **keys: object) -> str:
    (tmp_path / name).write_bytes(content)
    source = {"csv": "csv", "txt": "text", "parquet": "parquet"}[name.partition(".")[2]]
    given = {"source": source, "files": {"train": str(tmp_path / name)}, "text": "name", "label": "origin"} | keys
    with pytest.raises(UserError) as raised:
        prepare_corpus(data(**given), task=TASKS["language_modeling" if source == "text" else "classification"])
    return str(raised.value)


def test_faults_of_files(tmp_path: Path) -> None:
    assert "there is no such file" in _fault(tmp_path, "a.csv", b"", files={"train": "nowhere.csv"})
    assert "needs data.files.train" in _fault(tmp_path, "a.csv", b"x", files={})
    assert "the file is empty" in _fault(tmp_path, "b.csv", b"")
    assert "no row with text" in _fault(tmp_path, "c.csv", b"name,origin\n")
    assert "columns are surname, origin" in _fault(tmp_path, "d.csv", b"surname,origin\nA,b\n")
    assert "columns are name" in _fault(tmp_path, "e.csv", b"name\nA\n")
    assert "column 'origin' (data.label) is empty" in _fault(tmp_path, "f.csv", b"name,origin\nA,\n")
    latin = _fault(tmp_path, "g.csv", "name,origin\nMüller,German\n".encode("latin1"))
    assert "line 2 is not utf-8; set data.encoding, such as cp1252" in latin
    assert "such as utf-16" in _fault(tmp_path, "n.csv", "name,origin\nA,b\n".encode("utf-16"))
    assert "row 1: has 1 fields, and the table has 2" in _fault(tmp_path, "h.csv", b'name,origin\n"A,b\n1,2,3,4\n5,6\n')
    assert "cannot be read" in _fault(tmp_path, "i.parquet", b"PAR1 no parquet at all")
    assert "no row with text" in _fault(tmp_path, "j.txt", b" \n ", text="text")
    assert "not a folder; for a file write data.source=csv" in _fault(
        tmp_path, "k.csv", b"x", source=str(tmp_path / "k.csv")
    )


def test_hub_id_that_cannot_be_reached() -> None:
    with pytest.raises(UserError, match=r"data\.source=nobody/nothing: cannot be loaded"):
        prepare_corpus(data(source="nobody/nothing"), task=TASKS["language_modeling"])


@pytest.mark.parametrize("tokenizer", ["characters", "bytes", "words"])
def test_several_text_columns(tmp_path: Path, tokenizer: str) -> None:
    """They are joined by a token of their own, which no column can hold; an empty column is no fault."""
    (tmp_path / "a.csv").write_text("title,body,label\nOne,two,a\n,three,b\nFour\x1f,,a\nx,y,b\n")
    keys = {"source": "csv", "files": {name: str(tmp_path / "a.csv") for name in ("train", "test")}}
    corpus = prepare_corpus(
        data(**keys, text=["title", "body"], tokenizer=tokenizer, min_count=1, validation_fraction=0.0),
        task=TASKS["classification"],
    )
    assert texts(corpus, "test") == ["One\x1ftwo", "\x1fthree", "Four \x1f", "x\x1fy"]
    separator = corpus.tokenizer.encode(["\x1f"]).values.tolist()
    assert len(separator) == 1
    values = corpus.splits["test"].sequences.values.tolist()
    assert values.count(separator[0]) == 4
    with pytest.raises(UserError, match=r"no column 'subject' \(data\.text\); columns are title, body, label"):
        prepare_corpus(data(**keys, text=["title", "subject"]), task=TASKS["classification"])
