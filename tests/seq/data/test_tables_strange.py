"""Files that readers of tables often get wrong: each is read rightly, or refused or noted with advice."""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from seq.data.corpus import Corpus, prepare_corpus
from seq.data.ragged import RaggedArray
from seq.errors import UserError
from seq.tasks import TASKS
from tests.corpora import data, texts

CONLL = {"tokenizer": "tokens", "validation_fraction": 0.0}
UD = "1\t{}\tl\tX\tx\t_\t0\t_\t_\t{}\n"


Contents = Mapping[str, str | bytes]


def prepared(contents: Contents, folder: Path, task: str = "classification", /, **keys: Any) -> Corpus:
    """The first file trains, unless `keys` say otherwise."""
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    first = folder / next(iter(contents))
    kind = {".jsonl": "json", ".json": "json", ".txt": "text", ".conll": "text", ".parquet": "parquet"}
    given: dict[str, Any] = {"validation_fraction": 0.0}
    if "/" not in str(keys.get("source", "")):
        given |= {"source": kind.get(first.suffix, "csv"), "files": {"train": str(first)}}
    return prepare_corpus(data(**given | {"tokenizer": "bytes"} | keys), TASKS[task])


@pytest.mark.parametrize(
    ("content", "noted"),
    [
        ('id,text,label\n"1,a,x\n2,b,y\n3",z,y\n4,c,x\n', "train: 1 row(s) have a text with a line end"),
        ('text,label\na,x\nb,"y\nc,x"\nd,y\n', "train: 1 row(s)"),
        ('text,label,note\na,x,ok\nb,y,"bad\nc,x,ok\nd,y,bad"\ne,x,ok\n', "such as a.csv row 2"),
        ('text,label\r"a,x\rb",y\rc,z\r', "such as a.csv row 1"),
    ],
    ids=["unused", "label", "last", "carriage-returns"],
)
def test_a_quotation_mark_that_swallows_rows_is_noted(tmp_path: Path, content: str, noted: str) -> None:
    assert any(noted in note for note in prepared({"a.csv": content}, tmp_path).notes)


@pytest.mark.parametrize(
    ("name", "content", "keys", "said"),
    [
        ("a.csv", 'text,label\na,x\nb,"y\nc,x\nd,y\n', {}, "row 2: a quotation mark is opened and never closed"),
        ("a.csv", 'text,label,n\na,x,1\nb,y,"2\nc,x,3\n', {}, "data.quoting=none"),
        ("a.json", '[{"text": "a", "label": "x"}]\n[{"text": "b", "label": "y"}]', {}, "follows the JSON array"),
        ("a.json", '[{"text": "a", "label": "x"} {"text": "b", "label": "y"}]', {}, "its element 1 is not JSON"),
        ("a.json", '[{"text": "a", "label": "x"},]', {}, "its element 2 is not JSON"),
        ("a.jsonl", '{\n"text": "a",\n"label": "x"}\n', {}, "an object must be on one line"),
        ("a.jsonl", '{"text": "a", "label": "x"}{"text": "b", "label": "y"}\n', {}, "an object must be on one line"),
        ("a.jsonl", '{"text": "a", "text": "b", "label": "x"}\n', {}, "key 'text' is given twice"),
        ("a.csv", b"PK\x03\x04\x14", {}, "is a zip archive; unpack it"),
        ("a.xlsx", b"PK\x03\x04\x14", {"source": "csv"}, "is a document, not text; save it as csv"),
        ("a.csv", b"PAR1\x15\x04", {}, "is a parquet file, not text; set data.source=parquet"),
        ("a.txt", b"%PDF-1.7", {}, "is a PDF file"),
        ("a.csv.gz", gzip.compress(b"text,label\na,x\n" * 99, mtime=0)[:-20], {"source": "csv"}, "a.csv.gz: cannot be read: "),
        ("a.csv.gz", b"text,label\na,x\n", {"source": "csv"}, "a.csv.gz: cannot be read: "),
        ("a.csv", "text,label\nd\u00e9j\u00e0,x\n", {"encoding": "ascii"}, "line 2 is not ascii; set data.encoding, such as utf-8"),
        ("a.csv", "text, label\na,x\n", {}, "columns are text, ' label'"),
        ("a.csv", "text,label\na, \n", {}, "is empty"),
        ("a.csv", "text,label\na,x\n", {"source": "json"}, "is not JSON"),
        ("a.jsonl", '{"text": "a", "label": "x"}\n', {"delimiter": ";"}, "data.delimiter is not read"),
        ("a.csv", "text,label\na,x\n", {"source": "some/set", "files": {}, "columns": ["text"]}, "data.columns is not read"),
    ],
)  # fmt: skip
def test_refused_with_advice(tmp_path: Path, name: str, content: str | bytes, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as raised:
        prepared({name: content}, tmp_path, **keys)
    assert said in str(raised.value)
    assert name in str(raised.value) or "data." in str(raised.value)


@pytest.mark.parametrize("content", ["one\ntwo\n".encode("utf-16-le"), b"a\0b\n"])
@pytest.mark.parametrize("task", ["language_modeling", "classification"])
def test_binary_text(tmp_path: Path, content: bytes, task: str) -> None:
    with pytest.raises(UserError, match=r"a\.txt: holds NUL characters"):
        prepared({"a.txt": content}, tmp_path, task, label="file")


@pytest.mark.parametrize(
    ("task", "row", "keys"),
    [
        ("tagging", "\"['EU', 'calls']\",A B", CONLL),
        ("tagging", "EU calls,\"[3, 0]\"", CONLL),
        ("tagging", "\"['He', \"\"'s\"\"]\",A B", CONLL),
        ("tagging", "He goes,\"('A', 'B')\"", CONLL),
        ("multilabel", "a,\"['p', 'q']\"", {}),
        ("multilabel", "a,[]", {}),
        ("seq2seq", "a,\"['p', 'q']\"", {"target_tokenizer": "tokens"}),
    ],
)  # fmt: skip
def test_lists_written_as_text_are_refused(tmp_path: Path, task: str, row: str, keys: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"row 1: column .* a list written as text"):
        prepared({"a.csv": f"text,label\n{row}\n"}, tmp_path, task, **keys)


def test_numbers_as_python_writes_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds '1_000', not a number"):
        prepared({"a.csv": "text,label\na,1_000\n"}, tmp_path, "regression")


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    files = {
        "d/rows.csv": "text,label\na,x\nb,y\n",
        "d/.ipynb_checkpoints/rows-checkpoint.csv": "text,label\nold,x\n",
        "d/.rows.csv": "text,label\nolder,x\n",
        "d/._rows.csv": "",
    }
    for keys in ({"source": str(tmp_path / "d")}, {"files": {"train": str(tmp_path / "d")}}):
        assert texts(prepared(files, tmp_path, **keys), "train") == ["a", "b"]


def test_a_test_file_in_the_folder_that_trains(tmp_path: Path) -> None:
    files = {
        "d/train.csv": "text,label\na,x\nb,y\n",
        "d/test.csv": "text,label\nc,x\n",
        "d/more.jsonl": "{}",
        "d/copy.csv": "text,label\na,x\nb,y\n",
    }
    for train in ("d", "d/*.csv"):
        named = {"train": str(tmp_path / train), "test": str(tmp_path / "d" / "test.csv")}
        corpus = prepared(files, tmp_path, files=named)
        assert texts(corpus, "train") == ["a", "b"] * 2
        assert "train: 2 file(s): copy.csv, train.csv" in corpus.notes
        assert "train: copy.csv and train.csv are the same, so their rows count twice" in corpus.notes
        assert ("left out: 1 file(s): more.jsonl" in corpus.notes) == (train == "d")


def test_shared_texts_are_said(tmp_path: Path) -> None:
    files = {"a.csv": "text,label\nA,x\nb,y\n", "b.csv": "text,label\na,x\nc,y\n"}
    named = {"train": str(tmp_path / "a.csv"), "validation": str(tmp_path / "b.csv")}
    notes = prepared(files, tmp_path, files=named, lowercase=True).notes
    assert "validation: 1 of 2 texts are training texts too, so its figures are too good" in notes
    assert not any("too good" in note for note in prepared(files, tmp_path, files=named).notes)


@pytest.mark.parametrize("keys", [{"lowercase": True}, {"too_long": "truncate", "max_length": 5}])
def test_texts_that_the_model_reads_alike_stay_together(tmp_path: Path, keys: dict[str, Any]) -> None:
    words = [f"{first}{n:04d}{end}" for n in range(60) for first, end in (("w", ""), ("W", "more"))]
    words = words if "lowercase" not in keys else [word.removesuffix("more") for word in words]
    words = [word.lower() if "too_long" in keys else word for word in words]
    rows = "".join(f"{word},x\n" for word in words)
    corpus = prepared(
        {"a.csv": f"text,label\n{rows}"}, tmp_path, validation_fraction=0.3, tokenizer="characters", **keys
    )
    assert not {*texts(corpus, "train")} & {*texts(corpus, "validation")}


@pytest.mark.parametrize(
    ("written", "lowercase"),
    [
        (["Smith", "O'Brien", "Saint-Denis"] * 10 + ["McCarthy", "de Vries"], True),
        (["Smith", "\u674e"] * 10, True),  # a name without cases says nothing of the others
        (["Mu\u0308ller", "Men's Shoes", "3rd Street"], True),
        (["Smith", "McCarthy", "de Vries"], False),
        (["SMITH"], False),
        (["smith"], False),
        (["\u674e"], False),
        (["Haus", "house"], False),  # only German nouns have capitals
        (["The first sentence of John Smith"], False),
    ],
)
def test_lower_case_where_capitals_say_nothing(tmp_path: Path, written: list[str], lowercase: bool) -> None:
    rows = "".join(f"{text},x\n" for text in written)
    corpus = prepared({"a.csv": f"text,label\n{rows}"}, tmp_path, lowercase=None)
    assert corpus.tokenizer.lowercase is lowercase
    assert texts(corpus, "train") == [text.lower() if lowercase else text for text in written]
    assert any("lower case" in note for note in corpus.notes) is lowercase
    other = {"source": "csv", "files": {"train": str(tmp_path / "b.csv")}, "lowercase": None}
    (tmp_path / "b.csv").write_text("text,label\nOne Two,x\none,x\n")
    continued = prepare_corpus(data(**other, validation_fraction=0.0), TASKS["classification"], like=corpus)
    assert continued.tokenizer == corpus.tokenizer, "a trained model has decided"
    assert texts(continued, "train") == [text.lower() if lowercase else text for text in ("One Two", "one")]


def test_names_of_several_files(tmp_path: Path) -> None:
    files = {"d/a.csv": "text,label\na,x\nb,y\n", "d/b.csv": "text,label\nc,x\nlonger,y\n"}
    with pytest.raises(UserError, match=r"b.csv: train row 2: 6 tokens, more than data.max_length=5"):
        prepared(files, tmp_path, files={"train": str(tmp_path / "d")}, max_length=5)


def test_brackets_in_the_name_of_a_folder(tmp_path: Path) -> None:
    files = {"d[1]/a.csv": "text,label\na,x\n", "d1/a.csv": "text,label\nb,x\n"}
    corpus = prepared(files, tmp_path, files={"train": str(tmp_path / "d[1]" / "*.csv")})
    assert texts(corpus, "train") == ["a"]


def test_numbers_without_a_name_in_parquet(tmp_path: Path) -> None:
    about = {"info": {"features": {"label": [{"names": ["Irish", "Russian"], "_type": "ClassLabel"}]}}}
    table = pa.table({"text": ["a b", "c"], "label": [[0, 1], [1]]})
    pa.parquet.write_table(table.replace_schema_metadata({"huggingface": json.dumps(about)}), tmp_path / "a.parquet")
    given = {"source": "parquet", "files": {"train": str(tmp_path / "a.parquet")}}
    assert prepare_corpus(data(**given, **CONLL), TASKS["tagging"]).labels == ("Irish", "Russian")
    for wrong in (-1, -100, 2, None):
        table = pa.table({"text": ["a b"], "label": [[0, wrong]]}).replace_schema_metadata(
            {"huggingface": json.dumps(about)}
        )
        pa.parquet.write_table(table, tmp_path / "a.parquet")
        with pytest.raises(UserError, match="not a list of tags"):
            prepare_corpus(data(**given, **CONLL), TASKS["tagging"])
    for strange in ("null", '{"info": null}', '{"info": {"features": null}}'):
        pa.parquet.write_table(table.replace_schema_metadata({"huggingface": strange}), tmp_path / "a.parquet")
        with pytest.raises(UserError, match="not a list of tags"):
            prepare_corpus(data(**given, **CONLL), TASKS["tagging"])


@pytest.mark.parametrize(
    ("content", "keys", "tokens", "tags"),
    [
        ("EU\t" + "f\t" * 8 + "ORG\n1990\t" + "f\t" * 8 + "DATE\n", {}, "EU 1990", ["ORG", "DATE"]),
        ("a\tX \nb\t Y\n", {}, "a b", ["X", "Y"]),
        ("a\tX\t \nb\tY\t \n", {}, "a b", ["X", "Y"]),
        (UD.format("a", "") + UD.format("b", "_"), {}, "a b", ["X", "X"]),
        ("#tag\tO\n#two\tP\n", {}, "#tag #two", ["O", "P"]),
        ("\u00a0\tX\nb\tY\n", {}, "\u00a0 b", ["X", "Y"]),
    ],
    ids=["ten columns", "blanks", "empty column", "empty last column", "number signs", "no-break space"],
)
def test_conll(tmp_path: Path, content: str, keys: dict[str, Any], tokens: str, tags: list[str]) -> None:
    corpus = prepared({"a.conll": content}, tmp_path, "tagging", **CONLL | keys)
    targets = corpus.splits["train"].targets
    assert isinstance(targets, RaggedArray)
    assert texts(corpus, "train") == [tokens]
    assert [corpus.labels[tag] for tag in targets.values] == tags
