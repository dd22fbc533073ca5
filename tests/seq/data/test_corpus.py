"""Sources of every kind, and each way in which data can be at fault."""

import json
from pathlib import Path

import numpy as np
import pandas
import pytest

from seq.config import Config, DataConfig
from seq.config.read import parse_config
from seq.data.corpus import Corpus, prepare_corpus
from seq.errors import UserError

ROWS = [
    ("Adylov", "Russian"),
    ("Sloan", "Irish"),
    ("NA", "Irish"),
    ("null", "Russian"),
    ("007", "Irish"),
    ("Harb", "Russian"),
]


def data(**keys: object) -> DataConfig:
    config: Config = parse_config({"data": keys, "model": {"kind": "language_model"}}, where="test")
    return config.data


def write_rows(folder: Path, kind: str, rows: list[tuple[str, str]] = ROWS, name: str = "train") -> Path:
    path = folder / f"{name}.{kind}"
    table = pandas.DataFrame(rows, columns=["name", "origin"])
    if kind == "csv":
        table.to_csv(path, index=False)
    elif kind == "json":
        path.write_text("\n".join(json.dumps({"name": name, "origin": origin}) for name, origin in rows))
    else:
        table.to_parquet(path)
    return path


def texts(corpus: Corpus, split: str) -> list[str]:
    array = corpus.splits[split].sequences
    bounds = zip(array.offsets[:-1], array.offsets[1:], strict=True)
    return [corpus.tokenizer.decode(array.values[start:stop].tolist()) for start, stop in bounds]


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
    corpus = prepare_corpus(data(**where, text="name", label="origin", tokenizer="bytes"), task="classify")
    assert corpus.labels == ("Irish", "Russian")
    # "NA", "null" and "007" are names like any other.
    assert {*texts(corpus, "train"), *texts(corpus, "validation")} == {name for name, _ in ROWS}
    assert texts(corpus, "test") == ["Adylov", "Sloan"]
    labels = corpus.splits["test"].labels
    assert labels is not None
    assert labels.tolist() == [1, 0]


def test_text_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\r\n\r\ntwo\n\nthree\n")
    (tmp_path / "b.txt").write_text("four\n\nfive")
    for where in ({"source": "text", "files": {"train": str(tmp_path / "*.txt")}}, {"source": str(tmp_path)}):
        corpus = prepare_corpus(data(**where, unit="paragraph", tokenizer="bytes"), task="write")
        # The end of the text validates; each sequence has the token before it in front.
        assert texts(corpus, "train") == ["one\n\n", "\ntwo\n\n", "\nthree\n", "four\n\n"]
        assert texts(corpus, "validation") == ["\nfive"]
        assert corpus.notes == ("validation: the last 5 of 28 tokens of the training text",)


def test_one_long_document_does_not_validate_on_itself(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("".join(chr(ord("a") + n % 26) for n in range(1000)))
    keys = {"source": "text", "files": {"train": str(tmp_path / "a.txt")}, "unit": "window", "max_length": 10}
    corpus = prepare_corpus(data(**keys), task="write")
    counts = {name: int(split.lengths.sum()) for name, split in corpus.splits.items()}
    assert counts == {"train": 900, "validation": 101}


def test_validation_rows_are_cut_by_hash_and_no_label_is_lost(tmp_path: Path) -> None:
    rows = [(f"name{number}", f"label{number % 40}") for number in range(200)] + [("only", "rare")]
    keys = {
        "source": "csv",
        "files": {"train": str(write_rows(tmp_path, "csv", rows))},
        "text": "name",
        "label": "origin",
    }
    corpus = prepare_corpus(data(**keys, validation_fraction=0.6), task="classify")
    train, validation = (set(texts(corpus, split)) for split in ("train", "validation"))
    assert not train & validation
    assert len(train | validation) == 201
    assert 80 < len(validation) < 150
    labels = corpus.splits["train"].labels
    assert labels is not None
    assert len(set(labels.tolist())) == len(corpus.labels) == 41


def test_row_numbers_are_those_of_the_source(tmp_path: Path) -> None:
    rows = [("", "a"), ("Ab", "b"), ("Abcdefg", "a"), ("", "a"), ("C", "b")]
    keys = {
        "source": "csv",
        "files": {"train": str(write_rows(tmp_path, "csv", rows))},
        "text": "name",
        "label": "origin",
    }
    with pytest.raises(UserError, match="train row 3: 7 tokens"):
        prepare_corpus(data(**keys, empty="drop", max_length=5), task="classify")


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
            prepare_corpus(data(**keys), task="write")


def test_a_damaged_cache_is_made_anew(tmp_path: Path) -> None:
    keys = {"source": "csv", "files": {"train": str(write_rows(tmp_path, "csv"))}, "text": "name", "label": "origin"}
    config = data(**keys, cache_dir=str(tmp_path / "cache"))
    first = prepare_corpus(config, task="classify")
    (about,) = (tmp_path / "cache").glob("*/corpus.json")
    about.write_text("{")
    assert prepare_corpus(config, task="classify").fingerprint == first.fingerprint
    with pytest.raises(UserError):
        prepare_corpus(data(**keys, cache_dir=str(tmp_path / "cache"), max_length=2), task="classify")
    assert not list((tmp_path / "cache").glob("*.part-*"))


def test_prepared_once_and_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_rows(tmp_path, "csv")
    config = data(source="csv", files={"train": str(path)}, text="name", label="origin")
    first = prepare_corpus(config, task="classify")
    with monkeypatch.context() as patched:
        patched.setattr("seq.data.corpus.load_splits", lambda *_, **__: pytest.fail("prepared twice"))
        again = prepare_corpus(config, task="classify")
    assert isinstance(again.splits["train"].sequences.values.base, np.memmap)
    assert again.fingerprint == first.fingerprint
    write_rows(tmp_path, "csv", ROWS[1:])
    assert prepare_corpus(config, task="classify").fingerprint != first.fingerprint


def test_a_trained_vocabulary_can_be_given(tmp_path: Path) -> None:
    config = data(source="csv", files={"train": str(write_rows(tmp_path, "csv"))}, text="name", label="origin")
    first = prepare_corpus(config, task="classify")
    other = data(
        source="csv",
        files={"train": str(write_rows(tmp_path, "csv", [("Aqoy", "Irish")], "b"))},
        text="name",
        label="origin",
    )
    corpus = prepare_corpus(other, task="classify", tokenizer=first.tokenizer, labels=first.labels)
    assert (corpus.labels, corpus.tokenizer) == (first.labels, first.tokenizer)
    assert texts(corpus, "train")[0] == "A\ufffdoy"


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


def test_empty_rows(tmp_path: Path) -> None:
    path = str(write_rows(tmp_path, "csv", [("", "r"), ("Sloan", "i"), ("  ", "r")]))
    keys = {"source": "csv", "files": {"train": path, "validation": path}, "text": "name", "label": "origin"}
    with pytest.raises(UserError, match=r"train row 1: the text is empty \(2 such rows\); data\.empty=drop"):
        prepare_corpus(data(**keys), task="classify")
    corpus = prepare_corpus(data(**keys, empty="drop"), task="classify")
    assert texts(corpus, "train") == ["Sloan"]
    assert corpus.notes[0] == "train: 2 rows without text dropped (data.empty=drop)"


def _fault(tmp_path: Path, name: str, content: bytes, **keys: object) -> str:
    (tmp_path / name).write_bytes(content)
    source = {"csv": "csv", "txt": "text", "parquet": "parquet"}[name.partition(".")[2]]
    given = {"source": source, "files": {"train": str(tmp_path / name)}, "text": "name", "label": "origin"} | keys
    with pytest.raises(UserError) as raised:
        prepare_corpus(data(**given), task="write" if source == "text" else "classify")
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
    assert "cannot be loaded" in _fault(tmp_path, "h.csv", b'name,origin\n"A,b\n1,2,3,4\n5,6\n')
    assert "cannot be loaded" in _fault(tmp_path, "i.parquet", b"PAR1 no parquet at all")
    assert "no row with text" in _fault(tmp_path, "j.txt", b" \n ", text="text")
    assert "not a folder; for a file write data.source=csv" in _fault(
        tmp_path, "k.csv", b"x", source=str(tmp_path / "k.csv")
    )


def test_label_unseen_in_training(tmp_path: Path) -> None:
    train, test = write_rows(tmp_path, "csv"), write_rows(tmp_path, "csv", [("A", "Irish"), ("B", "Martian")], "test")
    keys = {"source": "csv", "files": {"train": str(train), "test": str(test)}, "text": "name", "label": "origin"}
    with pytest.raises(UserError, match="test row 2: label 'Martian' does not occur in the training data"):
        prepare_corpus(data(**keys), task="classify")


def test_hub_id_that_cannot_be_reached() -> None:
    with pytest.raises(UserError, match=r"data\.source=nobody/nothing: cannot be loaded"):
        prepare_corpus(data(source="nobody/nothing"), task="write")


def test_a_single_row_trains_and_validates(tmp_path: Path) -> None:
    path = write_rows(tmp_path, "csv", [("Sloan", "Irish")])
    corpus = prepare_corpus(
        data(source="csv", files={"train": str(path)}, text="name", label="origin"), task="classify"
    )
    assert texts(corpus, "train") == texts(corpus, "validation") == ["Sloan"]


def test_bits_are_counted_over_characters_not_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("über Größe", encoding="utf-8")
    keys = {"source": "text", "files": {"train": str(path), "validation": str(path)}}
    for tokenizer, targets in (("characters", 11), ("bytes", 14)):
        split = prepare_corpus(data(**keys, tokenizer=tokenizer), task="write").splits["train"]
        assert (int(split.lengths.sum()), split.num_characters) == (targets, 10)
