"""Opening the files of users: which kind a file is, its text in any encoding, unpacked, in lines or in blocks; and advice if it is no text."""

import codecs
import io
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa

from seq.data.progress import advance
from seq.data.ragged import BLOCK
from seq.errors import UserError

LONGEST_LINE = 16 << 20
"""Maximum number of characters in a line, and in a JSON object."""
LONGEST_ROW = 4 << 20
"""Maximum number of bytes in a row of a csv file; some twenty times as many are in memory at once."""
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


def kind_of(path: Path) -> str | None:
    """`csv`, `json`, `parquet` or `text`, by the suffix; None for another one."""
    return SUFFIXES.get(suffixes_of(path)[0])


def stem_of(path: Path) -> str:
    """The file's name without its suffixes of kind and compression."""
    return path.name[: len(path.name) - sum(map(len, suffixes_of(path)))]


def suffixes_of(path: Path) -> tuple[str, str]:
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
    if found is None or found in (kind, COMPRESSIONS.get(suffixes_of(path)[1])):
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
    with open_bytes(path) as file:
        lines = iter(lambda: file.readline(LONGEST_LINE), b"")
        place, line = next(((n, line) for n, line in enumerate(lines, 1) if not _decodes(line, encoding)), (1, b""))
    with open_bytes(path) as file:
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
    return io.TextIOWrapper(open_bytes(path), encoding, newline=newline)


def open_bytes(path: Path) -> Any:
    packed, file = COMPRESSIONS.get(suffixes_of(path)[1]), io.BufferedReader(_Watched(path))
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
