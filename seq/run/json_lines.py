"""Files with one JSON object in each line. The run may be killed at any moment, and the disk may be full."""

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seq.errors import warn

LONGEST_LINE = 16 << 20
"""Maximum number of bytes in a line; a run writes no longer ones."""
MOST_STEPS = 2**53
"""Step numbers must be below this, because charts are drawn with floats."""
TRAIN = b'{"event": "train"'
"""How lines about training steps begin."""


class JsonLines:
    """Appends lines. A line that cannot be written is kept and written with a later one, so the run survives a full disk
    without losing lines. After a kill the last line may be torn; the next start ends it."""

    def __init__(self, path: Path) -> None:
        self.path, self._unwritten, self._warned = path, bytearray(), False
        if path.exists() and path.stat().st_size:
            with path.open("rb") as file:
                file.seek(-1, os.SEEK_END)
                self._unwritten += b"" if file.read() == b"\n" else b"\n"

    def write(self, line: dict[str, Any]) -> None:
        """Write one object. NaN and infinities, which JSON lacks, become null."""
        finite = {name: None if _not_finite(value) else value for name, value in line.items()}
        self._unwritten += json.dumps(finite).encode() + b"\n"
        self.flush()

    def flush(self) -> None:
        if not self._unwritten:
            return
        try:
            with self.path.open("ab", buffering=0) as file:
                while self._unwritten:
                    del self._unwritten[: file.write(self._unwritten)]
        except OSError as error:
            if not self._warned:
                warn(f"{self.path}: {error.strerror}; its lines wait in memory")
            self._warned = True


def read_lines(path: Path, most: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield all complete lines that are an object with a `step`; a long run has a million of them. A missing file has none. `most`:
    maximum number of lines about training steps; they are chosen evenly and include the last."""
    left = _count_train(path) if most else 0
    every = max(1, -(-left // most)) if most else 1
    for line in _lines(path):
        if every > 1 and line.startswith(TRAIN):
            left -= 1
            if left % every:
                continue
        if _is_line(parsed := _parse(line)):
            yield parsed


def last_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Those in the last 64 KiB."""
    return filter(_is_line, map(_parse, _lines(path, end=1 << 16)))


def _lines(path: Path, end: int | None = None) -> Iterator[bytes]:
    if not path.exists():
        return
    with path.open("rb") as file:
        if end is not None:
            file.seek(max(0, path.stat().st_size - end))
        while line := file.readline(LONGEST_LINE):
            yield line


def _count_train(path: Path) -> int:
    return sum(line.startswith(TRAIN) for line in _lines(path))


def _is_line(parsed: Any) -> bool:
    return isinstance(parsed, dict) and type(step := parsed.get("step")) is int and 0 <= step < MOST_STEPS


def _parse(line: bytes) -> Any:
    """None if it is not JSON."""
    try:
        return json.loads(line.decode("utf-8", errors="replace"))
    except (ValueError, RecursionError):
        return None


def _not_finite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
