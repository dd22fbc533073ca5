"""A disk that loses its power: of what was written, only what was flushed to it is left."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Any
from unittest.mock import patch

Names = dict[str, int]
Content = dict[str, bytes | None]
"""Relative path -> bytes; None: a file that exists, whose bytes were never flushed."""


@dataclass
class Disk:
    """What is on the disk under `folder`. The operating system may write names (after a rename, a deletion) earlier than asked
    to, or not; so there are two contents at every moment: with all changes of names until now, and with the flushed ones only.

    A file is known by its inode, so every file that was seen stays open: a new file never gets the number of a deleted one.
    """

    folder: Path
    files: ExitStack
    moments: list[tuple[Content, Content]] = field(default_factory=list)
    _bytes: dict[int, bytes] = field(default_factory=dict)
    _names: dict[str, Names] = field(default_factory=dict)
    _open: dict[int, Any] = field(default_factory=dict)

    def flushed(self, path: Path) -> None:
        if path.is_dir():
            self._names[self._inside(path)] = self._entries(path)
        elif path.exists():
            self._bytes[self._inode(path)] = path.read_bytes()

    def look(self) -> None:
        """Remember what a power cut would leave now."""
        folders = [path for path in [self.folder, *self.folder.rglob("*")] if path.is_dir()]
        now = {self._inside(path): self._entries(path) for path in folders}
        self.moments.append((self._content(now), self._content(self._names)))

    def _content(self, names: dict[str, Names]) -> Content:
        found: Content = {}
        for folder, entries in names.items():
            found |= {os.path.join(folder, name): self._bytes.get(inode) for name, inode in entries.items()}
        return found

    def _inside(self, path: Path) -> str:
        return os.path.relpath(path, self.folder)

    def _entries(self, folder: Path) -> Names:
        return {path.name: self._inode(path) for path in folder.iterdir() if not path.is_dir()}

    def _inode(self, path: Path) -> int:
        number = path.stat().st_ino
        if number not in self._open:
            self._open[number] = self.files.enter_context(path.open("rb"))
        return number


@contextmanager
def watched(folder: Path) -> Iterator[Disk]:
    """While this lasts, each flush, rename and deletion below `folder` is a moment at which the power could go. One thread at a
    time changes names: the run's own threads must not change them while another one looks."""
    originals = {name: getattr(os, name) for name in ("fsync", "replace", "rename", "unlink")}
    one_at_a_time = RLock()

    def fsync(number: int) -> None:
        originals["fsync"](number)
        path = Path(os.readlink(f"/proc/self/fd/{number}"))
        if path.is_relative_to(folder):
            with one_at_a_time:
                disk.look()
                disk.flushed(path)
                disk.look()

    def changing(name: str) -> Any:
        def change(*arguments: Any, **options: Any) -> None:
            with one_at_a_time:
                originals[name](*arguments, **options)
                if folder.exists():
                    disk.look()

        return change

    changes = {name: changing(name) for name in ("replace", "rename", "unlink")}
    with ExitStack() as files:
        disk = Disk(folder, files)
        with patch.multiple(os, fsync=fsync, **changes):
            yield disk


def restore(content: Content, folder: Path) -> None:
    """Write the content of a disk to a new folder; a file that was never flushed is empty."""
    folder.mkdir()
    for name, whole in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(whole or b"")
