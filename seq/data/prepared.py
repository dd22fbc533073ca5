"""The flat files of a prepared corpus: written once, mapped by every process, compared with their fingerprint when they are
opened, and watched while they are used."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from seq.config import Task
from seq.data.encode import Encoded
from seq.data.order import LengthOrder
from seq.data.outputs import Coded, Outputs
from seq.data.ragged import RaggedArray
from seq.data.split import Split
from seq.data.tokenizer import Tokenizer
from seq.errors import RunError

Marks = Mapping[Path, tuple[int, int, int]]
"""The inode, size and time of the last write of each file."""


def save_files(
    folder: Path,
    encoded: Mapping[str, Encoded],
    tokenizer: Tokenizer,
    outputs: Outputs,
    notes: list[str],
    task: Task,
    unknown_bits: Mapping[str, float],
) -> None:
    """`unknown_bits`: of each split, see `Split`."""
    characters: dict[str, int] = {}
    for name, (sequences, targets) in encoded.items():
        characters[name] = tokenizer.count_characters(np.delete(sequences.values, sequences.offsets[:-1]))
        sequences.save(folder / name)
        Split.of(sequences, targets, characters[name], task).by_length.save(folder / name)
        if isinstance(targets, RaggedArray):
            targets.save(folder / f"{name}.targets")
        elif targets is not None:
            np.save(folder / f"{name}.targets.npy", targets)
    about: dict[str, Any] = {"task": task, "tokenizer": tokenizer.to_dict(), "outputs": outputs.to_dict()}
    about |= {"characters": characters, "unknown_bits": dict(unknown_bits), "notes": notes}
    (folder / "corpus.json").write_text(json.dumps(about | {"fingerprint": digest(folder, about)}))


def digest(folder: Path, about: dict[str, Any]) -> str:
    """SHA-256 of all files and of `about`."""
    found = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for path in sorted(folder.glob("*.npy")):
        found.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                found.update(block)
    return found.hexdigest()


def open_split(stem: Path, num_characters: int, unknown_bits: float, task: Task, outputs: Outputs) -> Split:
    return Split(
        sequences=RaggedArray.open(stem),
        targets=_open_targets(stem.with_name(f"{stem.name}.targets")),
        by_length=LengthOrder.open(stem),
        num_characters=num_characters,
        unknown_bits=unknown_bits,
        task=task,
        outputs=outputs,
    )


def _open_targets(stem: Path) -> Coded:
    if Path(f"{stem}.values.npy").exists():
        return RaggedArray.open(stem)
    single = Path(f"{stem}.npy")
    return np.asarray(np.load(single, mmap_mode="r")) if single.exists() else None


def mark(files: Iterable[Path]) -> Marks:
    """Return marks that change when somebody writes to the files; a file that is gone has no mark."""
    stats = {path: path.stat() for path in files if path.exists()}
    return {path: (stat.st_ino, stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()}


def check_unchanged(marks: Marks) -> None:
    """RunError if one of the files that are mapped was written to. One that was deleted or replaced stays mapped as it was."""
    for path, now in mark(marks).items():
        if now != marks[path] and now[0] == marks[path][0]:
            raise RunError(
                f"{path}: the prepared data have changed while the run used them, so its steps since the newest checkpoint may be "
                "wrong; started again, the run prepares the data anew and goes on from that checkpoint"
            )
