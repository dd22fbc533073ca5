"""Tables are read as the text that the file has, in training and in prediction alike, and what does not fit is named."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seq.config.read import parse_config
from seq.data import tables, text_files
from seq.data.corpus import Corpus, prepare_corpus
from seq.data.tables import Form, read_table
from seq.data.text_files import TextFile
from seq.errors import UserError
from seq.tasks import TASKS
from tests.corpora import data, texts

FORM = Form("utf-8-sig", None, True, None)


def prepared(path: Path, source: str = "csv", **keys: Any) -> Corpus:
    given = {"source": source, "files": {"train": str(path)}, "text": "name", "label": "origin", "tokenizer": "bytes"}
    return prepare_corpus(data(**given | {"validation_fraction": 0.0} | keys), TASKS["classification"])


def refused(path: Path, source: str = "csv", **keys: Any) -> str:
    with pytest.raises(UserError) as raised:
        prepared(path, source, **keys)
    return str(raised.value)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("row", "fields"), [("a,x, dear friend", 3), ("a", 1), ("a,x,", 3)], ids=["more", "fewer", "trailing comma"]
)
def test_a_row_of_another_width_is_refused(tmp_path: Path, row: str, fields: int) -> None:
    message = refused(write(tmp_path / "a.csv", f"name,origin\nb,y\n{row}\n"))
    assert f"a.csv row 2: has {fields} fields, and the table has 2: {row!r}" in message


def test_quotation_marks_that_are_no_quoting(tmp_path: Path) -> None:
    """Some rows become one: a note says which, and a key reads the marks as characters."""
    path = write(tmp_path / "a.tsv", 'name\torigin\nfirst\ta\n"second\tb\nthird"\ta\nfourth\tb\n')
    noted = prepared(path)
    assert len(noted.splits["train"]) == 3
    assert "1 row(s) have a text with a line end and the delimiter in it, such as a.tsv row 2" in noted.notes[0]
    assert texts(prepared(path, quoting="none"), "train") == ["first", '"second', 'third"', "fourth"]


@given(rows=st.lists(st.tuples(*[st.text(st.characters(exclude_categories=["Cs"]), max_size=8)] * 2), min_size=1))
def test_csv_comes_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    """Whatever is in the fields: quotation marks, delimiters, line ends."""
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    fields = [[field.replace("\r", "").replace("\0", "") for field in row] for row in rows]
    quoted = [",".join('"' + field.replace('"', '""') + '"' for field in row) for row in fields]
    write(path, "name,origin\n" + "\n".join(quoted) + "\n")
    found = [list(row.values()) for batch in read_table(path, "csv", FORM) for _, row in batch.rows()]
    assert found == fields


def test_only_the_columns_that_are_used_are_read(tmp_path: Path) -> None:
    """Another one may change its type late, or be missing in another file."""
    rows = "".join(f"w{n},{n if n < 9000 else 'x'},{'ab'[n % 2]}\n" for n in range(9001))
    path = write(tmp_path / "a.csv", f"name,id,origin\n{rows}")
    other = write(tmp_path / "b.csv", "origin,name\na,w\n")
    assert len(prepared(path, files={"train": str(path), "test": str(other)}).splits["test"]) == 1
    assert "two columns are named 'name'" in refused(write(tmp_path / "c.csv", "name,origin,name\na,b,c\n"))


LABELS = ["1", "1.0", "9007199254740993", "12345678901234567890", "2021-05-06", "true", "NA", "007"]


def test_a_label_is_the_text_of_the_file(tmp_path: Path) -> None:
    raw = ["1", "1.0", "9007199254740993", "12345678901234567890", '"2021-05-06"', "true", '"NA"', '"007"']
    lines = "\n".join(f'{{"name": "n{n}", "origin": {label}}}' for n, label in enumerate(raw))
    array = ",\n".join(lines.splitlines())
    table = "".join(f"n{n},{label}\n" for n, label in enumerate(LABELS))
    for path, source in (
        (write(tmp_path / "a.jsonl", lines), "json"),
        (write(tmp_path / "a.json", f"[{array}]"), "json"),
        (write(tmp_path / "a.csv", f"name,origin\n{table}"), "csv"),
    ):
        assert set(prepared(path, source).labels) == set(LABELS)


@pytest.mark.parametrize(("value", "said"), [("[1]", "list"), ('{"a": 1}', "dict"), ("NaN", "nan"), ("null", "empty")])
def test_what_is_no_label_is_refused(tmp_path: Path, value: str, said: str) -> None:
    path = write(tmp_path / "a.jsonl", f'{{"name": "a", "origin": "x"}}\n\n{{"name": "b", "origin": {value}}}\n')
    message = refused(path, "json")
    assert "a.jsonl: train row 2: column 'origin' (data.label)" in message
    assert said in message


def test_what_is_no_row_of_json_is_refused(tmp_path: Path) -> None:
    columns = json.dumps({"name": ["a", "b"], "origin": ["x", "y"]})
    assert "train row 1: column 'name' (data.text) holds" in refused(write(tmp_path / "a.json", columns), "json")
    assert "a.jsonl row 2: is not JSON" in refused(write(tmp_path / "a.jsonl", '{"name": "a"}\n{"name"\n'), "json")
    assert "row 1: is not a JSON object" in refused(write(tmp_path / "b.json", "[1]"), "json")
    assert "the JSON array is not complete" in refused(write(tmp_path / "c.json", '[{"name": "a"}, '), "json")


def test_classes_by_number_in_parquet(tmp_path: Path) -> None:
    """As the library `datasets` writes them."""
    about = {"info": {"features": {"origin": {"names": ["Irish", "Russian"], "_type": "ClassLabel"}}}}
    table = pa.table({"name": ["a", "b"], "origin": [1, 0]}).replace_schema_metadata({"huggingface": json.dumps(about)})
    pa.parquet.write_table(table, tmp_path / "a.parquet")
    assert prepared(tmp_path / "a.parquet", "parquet").labels == ("Irish", "Russian")
    dates = pa.table({"name": ["a", "b"], "origin": pa.array([b"x", b"y"])})
    pa.parquet.write_table(dates, tmp_path / "b.parquet")
    assert "not a label but a bytes" in refused(tmp_path / "b.parquet", "parquet")


def test_a_folder_is_read_as_a_whole(tmp_path: Path) -> None:
    for name, row in (("more", "a,x"), ("train_1", "b,y"), ("my-dev", "c,x"), ("Testing", "d,y"), ("contest", "e,x")):
        write(tmp_path / f"{name}.CSV", f"name,origin\n{row}\n")
    corpus = prepared(tmp_path, source=str(tmp_path), files={})
    assert {name: sorted(texts(corpus, name)) for name in corpus.splits} == {
        "train": ["a", "b", "e"],
        "validation": ["c"],
        "test": ["d"],
    }
    assert "train: 3 file(s): contest.CSV, more.CSV, train_1.CSV" in corpus.notes


def test_a_file_for_each_label_and_tables_without_a_header(tmp_path: Path) -> None:
    (tmp_path / "names").mkdir()
    write(tmp_path / "names" / "Irish.txt", "Sloan\n\nKelly\n")
    write(tmp_path / "names" / "Russian.txt", "Adylov\n")
    corpus = prepared(tmp_path, source=str(tmp_path / "names"), files={}, text="text", label="file")
    assert (corpus.labels, texts(corpus, "train")) == (("Irish", "Russian"), ["Sloan", "Kelly", "Adylov"])
    path = write(tmp_path / "a.csv", "Sloan,Irish\nAdylov,Russian\n")
    assert texts(prepared(path, columns=["name", "origin"]), "train") == ["Sloan", "Adylov"]


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_packed_files(tmp_path: Path, suffix: str) -> None:
    for name, content in (("a.csv", "name,origin\nA,x\n"), ("a.jsonl", '{"name": "A", "origin": "x"}'), ("a.txt", "A")):
        path, raw = tmp_path / f"{name}.{suffix}", content.encode()
        path.write_bytes(gzip.compress(raw) if suffix == "gz" else pa.compress(raw, "zstd", asbytes=True))
        if name == "a.txt":
            assert list(TextFile(path, "utf-8").blocks()) == ["A"]
        else:
            assert texts(prepared(path, "csv" if "csv" in name else "json"), "train") == ["A"]


def test_paths_are_paths_before_they_are_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a[1]").mkdir()
    path = write(tmp_path / "a[1]" / "x::y.csv", "name,origin\nA,x\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for pattern in (str(path), str(path.parent), "~/a[1]/x::y.csv"):
        assert texts(prepared(path, files={"train": pattern}), "train") == ["A"]


def test_a_tab_has_several_names(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "name\torigin\nA\tx\n")
    for delimiter in ("\t", "\\t"):
        assert texts(prepared(path, delimiter=delimiter), "train") == ["A"]
    assert parse_config({"data": {"delimiter": "\\t"}}, where="test").data.delimiter == "\t"
    assert "is data.delimiter='\\t' meant?" in refused(path)


def test_a_byte_order_mark_and_long_fields(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b"\xef\xbb\xbfname,origin\n" + b"A" * 200_000 + b",x\n")
    for encoding in ("utf-8", "utf8", "UTF-8"):
        assert len(texts(prepared(path, encoding=encoding, max_length=200_000), "train")[0]) == 200_000


def test_a_row_longer_than_a_block_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (tables, text_files):
        monkeypatch.setattr(module, "LONGEST_ROW", 1000)
    message = refused(write(tmp_path / "a.csv", "name,origin\n" + "A" * 3000 + ",x\n"))
    assert "a row has more than 1,000 bytes" in message


def test_text_in_blocks_is_the_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "BLOCK", 5)
    text = "".join(f"line {n}\r\n" * (n % 3) + "\n" for n in range(20)) + "end\r"
    path = write(tmp_path / "a.txt", text)
    blocks = list(TextFile(path, "utf-8").blocks())
    assert "".join(blocks) == text.replace("\r\n", "\n").replace("\r", "\n")
    assert all(block.endswith(("\n", "\r")) for block in blocks)
