"""Local files of rows, read as the text that they have, a batch at a time: csv and tsv, JSON lines and arrays, Parquet, lines.

Training and prediction read with the same functions. Types are not guessed, only the columns that are asked for are read, and a row
that does not fit its table is an error.
"""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from seq.config import DataConfig
from seq.data.json_objects import read_objects
from seq.data.progress import uncounted
from seq.data.ragged import BLOCK
from seq.data.text_files import (
    LONGEST_ROW,
    bounded_lines,
    codec,
    faults_of,
    open_bytes,
    open_text,
    refuse_format,
    stem_of,
    suffixes_of,
)
from seq.errors import UserError

ROWS = 8192
"""Rows of a batch, where the file has no blocks of its own."""
FILE = "file"
"""A column that every file has: its own name, without the suffix."""


@dataclass(frozen=True)
class Batch:
    """Some rows of one file."""

    first: int
    """The number of the first row, from 1."""
    columns: Mapping[str, Sequence[Any]]
    """Cells by column: text; None for null; and from JSON and Parquet lists, objects and numbers."""

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, cells in enumerate(zip(*self.columns.values(), strict=True), self.first):
            yield number, dict(zip(self.columns, cells, strict=True))


@dataclass(frozen=True)
class Form:
    """How files of rows are written."""

    encoding: str
    delimiter: str | None
    """None: a tab in `.tsv`, else a comma."""
    quoting: bool
    header: tuple[str, ...] | None
    """Names of the columns of files without a header."""

    @classmethod
    def of(cls, config: DataConfig) -> "Form":
        return cls(codec(config.encoding), config.delimiter, config.quoting == "standard", config.columns)

    def delimiter_of(self, path: Path) -> str:
        return self.delimiter or ("\t" if suffixes_of(path)[0] == ".tsv" else ",")


def read_table(path: Path, kind: str, form: Form, columns: Mapping[str, str] | None = None) -> Iterator[Batch]:
    """The rows of a file. `columns`: the names to read, each with the key that asks for it; None: all. UserError for a file that cannot be
    read, a column that it does not have, and a row that does not fit."""
    refuse_format(path, kind)
    with faults_of(path, form.encoding):
        yield from {"csv": _read_csv, "json": _read_json, "parquet": _read_parquet, "text": _read_lines}[kind](
            path, form, columns
        )


def _chosen(path: Path, names: Sequence[str], columns: Mapping[str, str] | None, form: Form) -> list[str]:
    """The columns to read. UserError for one that is not there, or is there twice."""
    chosen = list(dict.fromkeys(names if columns is None else columns))
    for name in chosen:
        if names.count(name) > 1:
            raise UserError(f"{path}: two columns are named {name!r}; rename one")
    check_columns(path, [*names, FILE], columns or {}, form)
    return chosen


def check_columns(path: Path, names: Sequence[str], columns: Mapping[str, str], form: Form) -> None:
    """UserError for one of `columns` that is not among `names`. It is said with the key that asks for it, and a likely delimiter."""
    for name in columns:
        if name not in names:
            known = [known for known in names if known != FILE]
            only, here = known[0] if len(known) == 1 else "", form.delimiter_of(path)
            likely = next((mark for mark in ";\t|," if mark in only and mark != here), None)
            advice = f"; is data.delimiter={likely!r} meant?" if likely else ""
            if "," in name and {*name.split(",")} <= {*known}:
                advice = f"; several columns are a list: [{name}]"
            shown = ", ".join(known if known == known.strip() else repr(known) for known in known)
            raise UserError(f"{path}: no column {name!r} ({columns[name]}); columns are {shown}{advice}")


def _batch(path: Path, first: int, rows: int, cells: Mapping[str, Sequence[Any]], chosen: Sequence[str]) -> Batch:
    """The chosen columns; `file` is filled in where the file itself has no such column."""
    return Batch(first, {name: cells[name] if name in cells else [stem_of(path)] * rows for name in chosen})


def _read_csv(path: Path, form: Form, columns: Mapping[str, str] | None) -> Iterator[Batch]:
    names, wrong, first = list(form.header or _header(path, form)), list[Any](), 1
    chosen = _chosen(path, names, columns, form)
    own = [name for name in chosen if name in names]

    def refuse(row: Any) -> str:
        wrong.append(row)
        return "error"

    try:
        with open_bytes(path) as file:
            as_text = {"column_types": dict.fromkeys(names, pa.string()), "include_columns": own}
            blank = columns is None and len(names) == 1  # of one column, an empty line is an empty text
            reader = _csv_reader(path, file, form, refuse, blank=blank, **as_text)
            for block in (large.slice(place, ROWS) for large in reader for place in range(0, len(large), ROWS)):
                cells = {name: block.column(name).to_pylist() for name in own}
                yield _batch(path, first, len(block), cells, chosen)
                first += len(block)
    except pa.ArrowInvalid:
        if not wrong:
            raise
        row = wrong[0]
        number = f" {row.number - (form.header is None)}" if row.number >= 0 else ""
        raise UserError(
            f"{path} row{number}: has {row.actual_columns} fields, and the table has {row.expected_columns}: {row.text[:80]!r}; put a "
            f"field with {form.delimiter_of(path)!r} into quotation marks, or set data.delimiter, or data.quoting=none where quotation "
            "marks are characters like others"
        ) from None


def _csv_reader(path: Path, file: Any, form: Form, wrong_width: Any, *, blank: bool = False, **convert: Any) -> Any:
    return pa.csv.open_csv(
        file,
        pa.csv.ReadOptions(use_threads=False, block_size=LONGEST_ROW, encoding=form.encoding, column_names=form.header),
        pa.csv.ParseOptions(
            delimiter=form.delimiter_of(path),
            quote_char='"' if form.quoting else False,
            newlines_in_values=form.quoting,
            ignore_empty_lines=not blank,
            invalid_row_handler=wrong_width,
        ),
        pa.csv.ConvertOptions(strings_can_be_null=False, **convert),
    )


def note_on_quotes(path: Path, form: Form, rows: int) -> str | None:
    """Say which rows of a csv file of `rows` rows may have swallowed others, because a quotation mark that is a letter opens a quotation:
    they have a cell with a line end and the delimiter in it. UserError if the last quotation is never closed."""
    if not form.quoting:
        return None
    with uncounted():
        line_feeds, returns, marks = _count(path, b"\n", b"\r", b'"')
        return _note_on_quotes(path, form, marks) if max(line_feeds, returns) > rows + 1 else None


def _note_on_quotes(path: Path, form: Form, marks: int) -> str | None:
    with faults_of(path, form.encoding):
        width = len(form.header or _header(path, form))
    # Columns by number: their names may be equal. The header is then the first row.
    numbered, own_header = replace(form, header=tuple(map(str, range(width)))), form.header is None
    found, last, delimiter = set[int](), Batch(0, {}), form.delimiter_of(path)
    for last in read_table(path, "csv", numbered):
        for cells in last.columns.values():
            places = (row for row, cell in enumerate(cells, last.first) if delimiter in cell and _has_line_end(cell))
            found.update(row - own_header for row in places)
    if any(_has_line_end(cells[-1]) for cells in last.columns.values()) and marks % 2:
        row = last.first + len(last) - 1 - own_header
        raise UserError(
            f"{path} row {row}: a quotation mark is opened and never closed; close it, or set data.quoting=none"
        )
    if not found:
        return None
    return (
        f"{len(found)} row(s) have a text with a line end and the delimiter in it, such as {path.name} row {min(found)}: if a quotation "
        "mark there is a letter like others, set data.quoting=none"
    )


def _has_line_end(text: str) -> bool:
    return "\n" in text or "\r" in text


def _count(path: Path, *letters: bytes) -> list[int]:
    """How often each of `letters` occurs."""
    counts = [0] * len(letters)
    with open_bytes(path) as file:
        for block in iter(lambda: file.read(BLOCK), b""):
            counts = [count + block.count(letter) for count, letter in zip(counts, letters, strict=True)]
    return counts


def _header(path: Path, form: Form) -> Sequence[str]:
    try:
        with open_bytes(path) as file:
            names: Sequence[str] = _csv_reader(path, file, form, lambda row: "skip").schema.names
    except pa.ArrowInvalid as error:
        if "Empty CSV" not in str(error):
            raise
        raise UserError(f"{path}: the file is empty") from None
    return names


def _read_json(path: Path, form: Form, columns: Mapping[str, str] | None) -> Iterator[Batch]:
    """Numbers stay as they are written."""
    with open_text(path, form.encoding) as file:
        rows, first = read_objects(path, file), 1
        known: dict[str, None] = {}
        while batch := list(itertools.islice(rows, ROWS)):
            known |= dict.fromkeys(name for row in batch for name in row)
            chosen = _chosen(path, list(known), columns, form)
            cells = {name: [row.get(name) for row in batch] for name in chosen if name in known}
            yield _batch(path, first, len(batch), cells, chosen)
            first += len(batch)


def _read_parquet(path: Path, form: Form, columns: Mapping[str, str] | None) -> Iterator[Batch]:
    with open_bytes(path) as opened, pa.parquet.ParquetFile(opened) as file:
        schema = file.schema_arrow
        chosen, first = _chosen(path, schema.names, columns, form), 1
        own = [name for name in chosen if name in schema.names]
        names = {name: labels for name in own if (labels := _class_names(schema, name))}
        for block in file.iter_batches(ROWS, columns=own):
            cells = {name: named(block.column(name).to_pylist(), names.get(name)) for name in own}
            yield _batch(path, first, len(block), cells, chosen)
            first += len(block)


def _class_names(schema: Any, column: str) -> list[str] | None:
    """The names of a column that the library `datasets` wrote as numbers (`ClassLabel`)."""
    feature = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    for key in ("info", "features", column):
        feature = feature.get(key) if isinstance(feature, dict) else None
    if isinstance(feature, list):  # how earlier versions wrote a list
        feature = {"feature": feature[0] if feature else None}
    feature = feature.get("feature", feature) if isinstance(feature, dict) else None
    return feature.get("names") if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" else None


def named(values: list[Any], names: list[str] | None) -> list[Any]:
    """Values by name, where a column has them by number; None for a number without a name."""
    if names is None:
        return values
    known = dict(enumerate(names))
    return [[known.get(one) for one in value] if isinstance(value, list) else known.get(value) for value in values]


def _read_lines(path: Path, form: Form, columns: Mapping[str, str] | None) -> Iterator[Batch]:
    """A row for each line that is not empty; its only columns are `text` and `file`."""
    chosen = _chosen(path, ["text"], columns, form)
    with open_text(path, form.encoding) as file:
        lines, first = (line.rstrip("\r\n") for line in bounded_lines(file) if line.strip()), 1
        while batch := list(itertools.islice(lines, ROWS)):
            yield _batch(path, first, len(batch), {"text": batch}, chosen)
            first += len(batch)
