"""JSON objects in a file: one on each line, or the elements of an array. Numbers stay as they are written."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from seq.data.text_files import LONGEST_LINE, bounded_lines
from seq.errors import UserError


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)!r} is given twice")
    return found


_DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=float, object_pairs_hook=_object)


def read_objects(path: Path, file: TextIO) -> Iterator[dict[str, Any]]:
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
