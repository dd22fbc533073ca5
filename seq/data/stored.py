"""The flat files of a corpus: written with their fingerprint, compared with it when they are opened, and watched while they are used."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seq.data.ragged import BLOCK, release
from seq.errors import RunError

About = Mapping[str, Any]
"""What is stored beside the arrays, as JSON."""
Marks = Mapping[Path, tuple[int, int, int]]
"""The inode, size and time of the last write of each file."""


def write(folder: Path, about: About, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Write each array to `<name>.npy`. Returns the fingerprint, as `digest` reads it from the files."""
    found = _begin(about)
    for path in sorted(folder / f"{name}.npy" for name in arrays):
        found.update(path.name.encode())
        _write_array(path, arrays[path.stem], found.update)
    return str(found.hexdigest())


def _write_array(path: Path, array: NDArray[Any], also: Callable[[bytes], None]) -> None:
    """What `np.save` writes, a part at a time."""
    with path.open("w+b") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.seek(0)
        also(file.read())
        for first in range(0, len(array), BLOCK):
            part = np.ascontiguousarray(array[first : first + BLOCK]).tobytes()
            file.write(part)
            also(part)
            release(array)


def digest(folder: Path, about: About) -> str:
    """SHA-256 of all files and of `about`."""
    found = _begin(about)
    for path in sorted(folder.glob("*.npy")):
        found.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                found.update(block)
    return str(found.hexdigest())


def _begin(about: About) -> Any:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode())


class Verification:
    """Compares the files of a corpus with its fingerprint, in a thread of its own."""

    def __init__(self, folder: Path, about: About, fingerprint: str) -> None:
        self._folder, self._executor = folder, ThreadPoolExecutor(1, "verification")
        self._same = self._executor.submit(lambda: digest(folder, about) == fingerprint)
        self._executor.shutdown(wait=False)

    def wait(self) -> None:
        """RunError if the files are damaged; the next start then prepares them anew."""
        if self._same.result():
            return
        (self._folder / "corpus.json").unlink(missing_ok=True)
        raise RunError(
            f"{self._folder}: the prepared data are damaged on the disk; started again, the run prepares them anew and goes on from its "
            "newest checkpoint"
        )


def mark(files: Iterable[Path]) -> Marks:
    """Return marks that change when somebody writes to the files; a file that is gone has no mark."""
    stats = {path: path.stat() for path in files if path.exists()}
    return {path: (stat.st_ino, stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()}


def check_unchanged(marks: Marks) -> None:
    """Raise RunError if a mapped file was written to. A file that was deleted or replaced stays mapped with its old content."""
    for path, now in mark(marks).items():
        if now != marks[path] and now[0] == marks[path][0]:
            raise RunError(
                f"{path}: the prepared data have changed while the run used them, so its steps since the newest checkpoint may be "
                "wrong; started again, the run prepares the data anew and goes on from that checkpoint"
            )
