"""Checkpoints: written completely or not at all, checked when read, and equal at every number of ranks."""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from launch.seeding import derive_seed
from seq.config import Config
from seq.config.identity import differing_keys, identity
from seq.config.read import parse_config
from seq.data.corpus import Corpus
from seq.errors import UserError
from seq.files import atomic_write, sync
from seq.training.state import Progress

FORMAT = 9
"""Increase this number when older checkpoints can no longer be read."""


class DamagedError(UserError):
    """A file that is damaged, or is not a checkpoint."""


def serialize(state: dict[str, Any]) -> io.BytesIO:
    """The state as a file in memory. Later changes of the tensors do not affect it."""
    content = io.BytesIO()
    torch.save({"format": FORMAT} | state, content)
    return content


def write_checkpoint(path: Path, content: io.BytesIO) -> None:
    """Write to a temporary file, flush it to the disk, read it back, rename it, flush the directory. OSError if the disk is
    full, read-only or damaged; `path` is then unchanged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content.getbuffer())
        sync(temporary)
        try:
            _verify(temporary)
        except zipfile.BadZipFile as error:
            raise OSError(f"the bytes read back differ from those written ({error})") from None


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The saved state, on the CPU. DamagedError if the file is not complete. Nothing in it is executed (weights_only)."""
    try:
        _verify(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes the unpickler fail in any way
        reason = " ".join(str(error).split())[:120]
        raise DamagedError(f"{path}: damaged or no checkpoint of lockstep ({reason}); move it away") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise DamagedError(f"{path}: not a checkpoint of this version of lockstep (format {FORMAT})")
    return state


@contextmanager
def errors_as_damage(path: Path) -> Iterator[None]:
    """DamagedError instead of the many errors that a foreign checkpoint causes."""
    try:
        yield
    except (LookupError, TypeError, ValueError, RuntimeError, AttributeError, ArithmeticError) as error:
        raise DamagedError(f"{path}: not a checkpoint of this version of lockstep ({str(error)[:100]})") from None


def _verify(path: Path) -> None:
    """torch.load ignores the checksums of the archive, so a flipped bit would load as a wrong weight. It reads a file that does not
    begin like an archive as its old format, which has no checksums."""
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            raise zipfile.BadZipFile("it does not begin as a checkpoint")
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
        if packed or sum(member.file_size for member in members) > path.stat().st_size:
            raise zipfile.BadZipFile(
                "it is compressed, which torch.save never does"
            )  # a megabyte may unpack to gigabytes
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"wrong checksum of {damaged}")


def params_sha256(model: nn.Module) -> str:
    """SHA-256 over the fp32 bytes of all parameters in the order of their names. Equal runs have equal digests."""
    digest = hashlib.sha256()
    for _, parameter in sorted(model.named_parameters()):
        digest.update(parameter.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def describe_run(config: Config, corpus: Corpus) -> dict[str, Any]:
    """The part of a checkpoint that says what its weights mean. RunError if somebody has written to the data that they were
    trained on."""
    corpus.check()
    return {
        "config": config.model_dump(mode="json"),
        "tokenizer": corpus.tokenizer.to_dict(),
        "outputs": corpus.outputs.to_dict(),
        "data": corpus.fingerprint,
    }


def fingerprint(config: Config, corpus: Corpus, step: int, model: nn.Module) -> int:
    """63 bits of everything that decides how a run continues. The ranks must agree on it."""
    return derive_seed(json.dumps(identity(config), sort_keys=True), corpus.fingerprint, step, params_sha256(model))


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as read back."""

    path: Path
    state: dict[str, Any]


def load_for_resume(paths: list[Path], config: Config, corpus: Corpus) -> Checkpoint | None:
    """The first of `paths` that is not damaged; None if there are no paths. UserError if all are damaged, or if the first
    sound one is from another run or other data."""
    for number, path in enumerate(paths, 1):
        try:
            return Checkpoint(path, _load_of_this_run(path, config, corpus))
        except DamagedError:
            if number == len(paths):
                raise
    return None


def _load_of_this_run(path: Path, config: Config, corpus: Corpus) -> dict[str, Any]:
    state = load_checkpoint(path)
    with errors_as_damage(path):
        saved, data = parse_config(state["config"], where=str(path)), state["data"]
        Progress(**state["progress"])
    if differing_keys(config, saved):
        raise UserError(f"{path}: is a checkpoint of a run with another config; move it away")
    if data != corpus.fingerprint:
        raise UserError(
            f"{path}: was trained on other data than data.source holds now; restore the data, choose another run.name, "
            "or start over with --fresh"
        )
    return state
