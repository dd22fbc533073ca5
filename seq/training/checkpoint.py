"""Checkpoints: written whole or not at all, checked when read, and the same whatever the number of ranks."""

import hashlib
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from seq.errors import UserError

FORMAT = 1


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write to a temporary file, flush it to the disk, read it back, rename, flush the directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".part-{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            torch.save({"format": FORMAT} | state, file)
            file.flush()
            os.fsync(file.fileno())
        _verify(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The saved state, on the CPU. UserError if the file is damaged; nothing in it is executed (weights_only)."""
    try:
        _verify(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, KeyError, ValueError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path}: damaged or no checkpoint of lockstep ({reason}); move it away") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UserError(f"{path}: not a checkpoint of this version of lockstep (format {FORMAT})")
    return state


def _verify(path: Path) -> None:
    """torch.load does not look at the checksums of the archive: a flipped bit would load as a wrong weight."""
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
