"""Local files of rows, read as the text that they have, a batch at a time: csv and tsv, JSON lines and arrays, Parquet, lines.

Training and prediction read with the same functions. Types are not guessed, only the columns that are asked for are read, and a row
that does not fit its table is an error.
"""

import codecs
import io
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from seq.config import DataConfig
from seq.data.progress import advance
from seq.data.ragged import BLOCK
from seq.errors import UserError

LONGEST_LINE = 16 << 20
"""Maximum number of characters in a JSON object, and in a line."""
LONGEST_ROW = 4 << 20
"""Maximum number of bytes in a row of a csv file; some twenty times as many are in memory at once."""
ROWS = 8192
"""Rows of a batch, where the file has no blocks of its own."""
SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
    ".txt": "text",
    ".conll": "text",
    ".conllu": "text",
}
"""Suffix of a file, in small letters -> its kind."""
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
"""Suffixes after another one: the file is unpacked as it is read."""
FORMATS = {
    b"PK\x03\x04": "zip",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PAR1": "parquet",
    b"%PDF": "PDF",
    b"\xd0\xcf\x11\xe0": "Excel or Word",
}
"""First bytes -> format of files that are no text."""
DOCUMENTS = {".xlsx", ".xlsm", ".ods", ".docx", ".odt"}
"""Suffixes of documents that are zip archives."""
BROKEN = (
    "{} row(s) have a text with a line end and the delimiter in it, such as {} row {}: if a quotation mark there is a letter like others, "
    "set data.quoting=none"
)
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
        return self.delimiter or ("\t" if _suffixes(path)[0] == ".tsv" else ",")


def kind_of(path: Path) -> str | None:
    """`csv`, `json`, `parquet` or `text`, by the suffix; None for another one."""
    return SUFFIXES.get(_suffixes(path)[0])


def stem_of(path: Path) -> str:
    """The file's name without its suffixes of kind and compression."""
    return path.name[: len(path.name) - sum(map(len, _suffixes(path)))]


def _suffixes(path: Path) -> tuple[str, str]:
    """Return the suffix of the kind and that of the compression, in small letters; either may be empty."""
    last = path.suffix.lower()
    return (Path(path.stem).suffix.lower(), last) if last in COMPRESSIONS else (last, "")


def codec(encoding: str) -> str:
    """The name of an encoding for `open`. Spreadsheets put a byte order mark before UTF-8; it must not become part of the first column's name."""
    return "utf-8-sig" if codecs.lookup(encoding).name in ("utf-8", "utf-8-sig") else encoding


def refuse_format(path: Path, kind: str = "text") -> None:
    """UserError for a file that is of another kind than text, and is not unpacked as it is read."""
    with path.open("rb") as file:
        begin = file.read(512)
    found = next((format_ for first, format_ in FORMATS.items() if begin.startswith(first)), None)
    found = "tar" if begin[257:262] == b"ustar" else found
    if found is None or found in (kind, COMPRESSIONS.get(_suffixes(path)[1])):
        return
    if found in ("parquet", "PDF", "Excel or Word") or path.suffix.lower() in DOCUMENTS:
        form = "document" if found == "zip" else f"{found} file"
        advice = "set data.source=parquet" if found == "parquet" else "save it as csv or text, in UTF-8"
        raise UserError(f"{path}: is a {form}, not text; {advice}")
    raise UserError(f"{path}: is a {found} archive; unpack it first (.csv, .jsonl and .txt may be .gz or .zst)")


@contextmanager
def faults_of(path: Path, encoding: str) -> Iterator[None]:
    """UserError instead of what the readers raise."""
    try:
        yield
    except UnicodeError:
        raise UserError(_not_encoded(path, encoding)) from None
    except (pa.ArrowException, ValueError, EOFError, OverflowError, OSError) as error:
        text = " ".join(str(error).split())
        if "invalid UTF8" in text or "can't decode" in text:
            raise UserError(_not_encoded(path, encoding)) from None
        if "straddling" in text:
            text = (
                f"a row has more than {LONGEST_ROW:,} bytes; is this the right file, or is a quotation mark never closed? With "
                "data.quoting=none, quotation marks are characters like others"
            )
        raise UserError(f"{path}: cannot be read: {text[:300]}") from None


def _not_encoded(path: Path, encoding: str) -> str:
    """The line that cannot be decoded, and what the encoding may be."""
    with _open_bytes(path) as file:
        lines = iter(lambda: file.readline(LONGEST_LINE), b"")
        place, line = next(((n, line) for n, line in enumerate(lines, 1) if not _decodes(line, encoding)), (1, b""))
    with _open_bytes(path) as file:
        utf16 = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    others = "utf-8" if line and _decodes(line, "utf-8") else "cp1252 (Windows) or latin-1"
    name = "utf-8" if encoding == "utf-8-sig" else encoding
    likely = "utf-16" if utf16 else others
    return f"{path}: line {place} is not {name}; set data.encoding, such as {likely} (in seq.predict, --encoding)"


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeError:
        return False
    return True


def open_text(path: Path, encoding: str, newline: str | None = "") -> TextIO:
    """The file's text, unpacked if its suffix says so; `newline` as in `open`."""
    refuse_format(path)
    return io.TextIOWrapper(_open_bytes(path), encoding, newline=newline)


def _open_bytes(path: Path) -> Any:
    packed, file = COMPRESSIONS.get(_suffixes(path)[1]), io.BufferedReader(_Watched(path))
    return io.BufferedReader(pa.CompressedInputStream(file, packed)) if packed else file


class _Watched(io.FileIO):
    """A file that says how much of it has been read."""

    def readinto(self, buffer: Any) -> int | None:
        size = super().readinto(buffer)
        advance(size or 0)
        return size


@dataclass(frozen=True)
class TextFile:
    """A text that stays in its file, since it may be larger than the memory."""

    path: Path
    encoding: str

    def blocks(self) -> Iterator[str]:
        """The text in blocks that end after a line, unless a line is very long. UserError for another encoding."""
        with faults_of(self.path, self.encoding), open_text(self.path, self.encoding) as file:
            while block := file.read(BLOCK):
                whole = block + file.readline(LONGEST_LINE)
                _refuse_nul(self.path, whole)
                yield whole.replace("\r\n", "\n").replace("\r", "\n")


def _refuse_nul(path: Any, text: str) -> None:
    if "\0" in text:
        raise UserError(
            f"{path}: holds NUL characters, so it is no text, or in another encoding; set data.encoding, such as utf-16-le"
        )


def bounded_lines(file: TextIO) -> Iterator[str]:
    """The lines. UserError for one of more than LONGEST_LINE characters, before it is in memory."""
    for number in itertools.count(1):
        line = file.readline(LONGEST_LINE + 1)
        if len(line) > LONGEST_LINE:
            raise UserError(
                f"{getattr(file, 'name', 'the file')}: line {number} has more than {LONGEST_LINE:,} characters; a row is a line: is "
                "this the right file?"
            )
        if not line:
            return
        _refuse_nul(getattr(file, "name", "the file"), line)
        yield line


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
        with _open_bytes(path) as file:
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


def broken_rows(path: Path, form: Form, rows: int) -> list[int]:
    """The rows of a csv file of `rows` rows that may have swallowed others, because a quotation mark that is a letter opens a quotation: they have a cell
    with a line end and the delimiter in it. UserError if the last quotation is never closed."""
    if not form.quoting or _count_lines(path) <= rows + 1:
        return []
    with faults_of(path, form.encoding):
        width = len(form.header or _header(path, form))
    # Columns by number: their names may be equal. The header is then the first row.
    numbered, own_header = replace(form, header=tuple(map(str, range(width)))), form.header is None
    found, last, delimiter = set[int](), Batch(0, {}), form.delimiter_of(path)
    for last in read_table(path, "csv", numbered):
        for cells in last.columns.values():
            places = (row for row, cell in enumerate(cells, last.first) if delimiter in cell and _has_line_end(cell))
            found.update(row - own_header for row in places)
    if any(_has_line_end(cells[-1]) for cells in last.columns.values()) and _count(path, b'"') % 2:
        row = last.first + len(last) - 1 - own_header
        raise UserError(
            f"{path} row {row}: a quotation mark is opened and never closed; close it, or set data.quoting=none"
        )
    return sorted(found)


def _has_line_end(text: str) -> bool:
    return "\n" in text or "\r" in text


def _count_lines(path: Path) -> int:
    return max(_count(path, b"\n"), _count(path, b"\r"))


def _count(path: Path, letter: bytes) -> int:
    with _open_bytes(path) as file:
        return sum(block.count(letter) for block in iter(lambda: file.read(BLOCK), b""))


def _header(path: Path, form: Form) -> Sequence[str]:
    try:
        with _open_bytes(path) as file:
            names: Sequence[str] = _csv_reader(path, file, form, lambda row: "skip").schema.names
    except pa.ArrowInvalid as error:
        if "Empty CSV" not in str(error):
            raise
        raise UserError(f"{path}: the file is empty") from None
    return names


def _read_json(path: Path, form: Form, columns: Mapping[str, str] | None) -> Iterator[Batch]:
    """Numbers stay as they are written."""
    with open_text(path, form.encoding) as file:
        rows, first = _objects(path, file), 1
        known: dict[str, None] = {}
        while batch := list(itertools.islice(rows, ROWS)):
            known |= dict.fromkeys(name for row in batch for name in row)
            chosen = _chosen(path, list(known), columns, form)
            cells = {name: [row.get(name) for row in batch] for name in chosen if name in known}
            yield _batch(path, first, len(batch), cells, chosen)
            first += len(batch)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)!r} is given twice")
    return found


_DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=float, object_pairs_hook=_object)


def _objects(path: Path, file: TextIO) -> Iterator[dict[str, Any]]:
    """The objects of an array, or of lines, which may be empty."""
    start = file.read(1)
    while start and start.isspace():
        start = file.read(1)
    texts = _array_elements(path, file) if start == "[" else _object_lines(start, file)
    for number, text in enumerate(texts, 1):
        try:
            row = _DECODER.decode(text) if isinstance(text, str) else text
        except (ValueError, RecursionError) as error:
            advice = (
                "; an object must be on one line, or in an array"
                if text.strip() in ("{", "[") or "Extra" in str(error)
                else ""
            )
            raise UserError(f"{path} row {number}: is not JSON ({error}){advice}") from None
        if not isinstance(row, dict):
            raise UserError(f"{path} row {number}: is not a JSON object, {{...}}, but {str(row)[:60]!r}")
        yield {str(name): _cell(value) for name, value in row.items()}


def _object_lines(start: str, file: TextIO) -> Iterator[str]:
    begun = start
    for line in bounded_lines(file):
        if text := (begun + line).strip():
            yield text
        begun = ""


def _array_elements(path: Path, file: TextIO) -> Iterator[Any]:
    """The elements of an array whose `[` was read."""
    held, ended, number = "", False, 0
    while not ended:
        # An element, and the comma or bracket after it, which says that a number or a name is complete.
        held = held.lstrip()
        try:
            if held.startswith("]") and not number:
                element, end = None, 0
            else:
                element, end = _DECODER.raw_decode(held)
            rest = held[end:].lstrip()
            if rest[:1] not in (",", "]"):
                raise ValueError(f"{rest[:20]!r} follows an element" if rest else "it is not complete")
        except (ValueError, RecursionError) as error:
            more = file.read(1 << 20)
            if not more or len(held) > LONGEST_LINE:
                raise UserError(
                    f"{path}: the JSON array is not complete, or its element {number + 1} is not JSON: {error}"
                ) from None
            held += more
            continue
        ended, held = rest[0] == "]", rest[1:]
        if end:
            number += 1
            yield element
    if rest := (held + file.read(1000)).strip():
        raise UserError(f"{path}: {rest[:40]!r} follows the JSON array; write one array, or an object on each line")


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return [_cell(item) for item in value] if isinstance(value, list) else value


def _read_parquet(path: Path, form: Form, columns: Mapping[str, str] | None) -> Iterator[Batch]:
    with _open_bytes(path) as opened, pa.parquet.ParquetFile(opened) as file:
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
