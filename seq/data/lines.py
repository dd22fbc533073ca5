"""Files of rows or text from untrusted sources: their encoding, and limits on how much is read into memory."""

import codecs
import itertools
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from seq.config import DataConfig
from seq.errors import UserError

LONGEST_LINE = 16 << 20
"""Maximum number of characters in a table row, a JSON object or a CoNLL line."""
ARCHIVES = {b"PK\x03\x04": "zip", b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
"""First bytes -> format."""


def refuse_archive(path: Path) -> None:
    """UserError for a packed file: `datasets` would unpack it, whatever its size."""
    with path.open("rb") as file:
        begin = file.read(512)
    kinds = [kind for first, kind in ARCHIVES.items() if begin.startswith(first)] or ["tar"] * (
        begin[257:262] == b"ustar"
    )
    if kinds:
        raise UserError(f"{path}: is a {kinds[0]} archive; unpack it first")


def codec(encoding: str) -> str:
    """The name of an encoding for `open`. Spreadsheets put a byte order mark before UTF-8; it must not become part of the first column's name."""
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


def check_lines(path: Path, config: DataConfig) -> None:
    """UserError for another encoding, and for a row that would fill the memory; a text and a JSON array may be one long line."""
    try:
        with path.open(encoding=config.encoding, newline="") as lines:
            rows = lines.read(1) != "[" and (config.source != "text" or config.tokenizer == "tokens")
            deque(bounded_lines(lines) if rows else iter(lambda: lines.readline(LONGEST_LINE), ""), maxlen=0)
    except UnicodeError:
        with path.open("rb") as file:
            place = next((number for number, line in enumerate(file, 1) if not _decodes(line, config.encoding)), 1)
            file.seek(0)
            utf16 = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        likely = "utf-16" if utf16 else "cp1252 (Windows) or latin-1"
        raise UserError(f"{path}: line {place} is not {config.encoding}; set data.encoding, such as {likely}") from None


def bounded_lines(file: TextIO) -> Iterator[str]:
    """The lines. UserError for one of more than LONGEST_LINE characters, before it is in memory."""
    for number in itertools.count(1):
        line = file.readline(LONGEST_LINE + 1)
        if len(line) > LONGEST_LINE:
            raise UserError(
                f"{file.name}: line {number} has more than {LONGEST_LINE:,} characters; a row is a line: is this the right file?"
            )
        if not line:
            return
        yield line


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeError:
        return False
    return True
