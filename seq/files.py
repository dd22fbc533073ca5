"""Files that stay complete after a kill, a full disk or a power cut."""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from seq.errors import RunError, UserError


@contextmanager
def disk_errors_as_run_errors(path: Path) -> Iterator[None]:
    """RunError instead of OSError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(f"{path}: {reason}; fix this, and start the same command again to go on") from None


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary file to write to; it then replaces `path` and is flushed to the disk. Whatever fails meanwhile, `path` has its
    old content or all of the new content."""
    temporary = path.with_name(f"{path.name}.part-{os.getpid()}")
    temporary.unlink(missing_ok=True)  # it may be a link that somebody has put there
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def read_text(path: Path, most: int = 64 << 20) -> str:
    """The content of a file of at most `most` bytes. OSError for a larger one, and for a device or a pipe, which may never end."""
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(number, encoding="utf-8") as file:
        about = os.fstat(number)
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if about.st_size > most:
            raise OSError(errno.EFBIG, f"larger than {most >> 20} MB", str(path))
        return file.read()


def sync(path: Path) -> None:
    """Wait until the disk has a file's content, or a folder's names."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def append_what_is_new(source: Path, copy: Path) -> None:
    """Make `copy` equal to `source`, to which lines are only added."""
    with source.open("rb") as new, copy.open("ab") as old:
        if old.tell() > os.fstat(new.fileno()).st_size:
            old.truncate(0)  # of another run
        new.seek(old.seek(0, os.SEEK_END))
        shutil.copyfileobj(new, old)
        old.flush()
        os.fsync(old.fileno())


def refuse_links(folder: Path) -> None:
    """UserError if an entry of a folder that we write to is a symbolic link: whoever made it would choose the file that is
    written."""
    with suppress(FileNotFoundError):
        for entry in folder.iterdir():
            if entry.is_symlink():
                raise UserError(
                    f"{entry}: is a symbolic link, and files that are written there would land in {os.readlink(entry)!r}; remove it "
                    "(the folder that holds it may be a link)"
                )
