"""Checkpoints: written whole or not at all, checked when read, and the same whatever the number of ranks."""

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from seq.errors import UserError

FORMAT = 4
"""Raise when older checkpoints can no longer be read."""


class DamagedError(UserError):
    """A file that is not, or no longer, a checkpoint."""


def serialize(state: dict[str, Any]) -> io.BytesIO:
    """The state as it is now, as a file in memory: what happens to the tensors afterwards does not matter."""
    content = io.BytesIO()
    torch.save({"format": FORMAT} | state, content)
    return content


def write_checkpoint(path: Path, content: io.BytesIO) -> None:
    """Write to a temporary file, flush it to the disk, read it back, rename, flush the directory. OSError if the disk
    is full, read-only or damaged; then `path` is as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".part-{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        try:
            _verify(temporary)
        except zipfile.BadZipFile as error:
            raise OSError(f"the disk gave back other bytes than were written ({error})") from None
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The saved state, on the CPU. DamagedError if the file is not whole; nothing in it is executed (weights_only)."""
    try:
        _verify(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler of a damaged file stumbles in every way there is
        reason = " ".join(str(error).split())[:120]
        raise DamagedError(f"{path}: damaged or no checkpoint of lockstep ({reason}); move it away") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise DamagedError(f"{path}: not a checkpoint of this version of lockstep (format {FORMAT})")
    return state


@contextmanager
def complaining_about(path: Path) -> Iterator[None]:
    """A file that is a checkpoint, but not one of ours, fails in many ways."""
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise DamagedError(f"{path}: not a checkpoint of this version of lockstep ({str(error)[:100]})") from None


def _verify(path: Path) -> None:
    """torch.load does not look at the checksums of the archive: a flipped bit would load as a wrong weight. And what does
    not begin as an archive it takes for its old format, which has none."""
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            raise zipfile.BadZipFile("it does not begin as a checkpoint")
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"wrong checksum of {damaged}")


def checkpoints_in(folder: Path) -> list[Path]:
    """`step-XXXXXXXX.pt`, the oldest first."""
    return sorted(folder.glob("step-" + "[0-9]" * 8 + ".pt"))


def delete_old(folder: Path, keep: int) -> None:
    """All but the newest `keep`, and what a killed save left behind."""
    for path in [*checkpoints_in(folder)[:-keep], *folder.glob("*.part-*")]:
        path.unlink(missing_ok=True)


def params_sha256(model: nn.Module) -> str:
    """SHA-256 over the fp32 bytes of all parameters in the order of their names: equal runs have equal digests."""
    digest = hashlib.sha256()
    for _, parameter in sorted(model.named_parameters()):
        digest.update(parameter.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
