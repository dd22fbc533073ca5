"""Files with one JSON object in each line. The run may be killed at any moment, and the disk may be full."""

import json
import math
import os
from pathlib import Path
from typing import Any

from seq.errors import warn


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


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All complete lines that are an object with a `step`. Empty if there is no such file."""
    lines = path.read_text("utf-8", errors="replace").splitlines() if path.exists() else []
    parsed = (_parse(line) for line in lines)
    return [line for line in parsed if isinstance(line, dict) and isinstance(line.get("step"), int)]


def _parse(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _not_finite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
