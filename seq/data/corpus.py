"""A prepared corpus, kept in flat files. One process of a machine prepares it (`seq.data.prepare`), all processes map it.

The files themselves are those of `seq.data.stored`.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from launch.context import describe_launch
from seq.config import DataConfig
from seq.data.order import LengthOrder
from seq.data.outputs import Coded, Outputs, Vocabulary
from seq.data.prepare import Prepared, prepare
from seq.data.ragged import RaggedArray, large_arrays_in
from seq.data.sources import identify
from seq.data.split import Split
from seq.data.stored import Marks, Verification, check_unchanged, digest, mark, write
from seq.data.targets import Targets
from seq.data.tokenizer import Tokenizer
from seq.errors import UserError

FORMAT = 14
"""Increase this number when the same source and config would be prepared differently."""
VERIFIED_AT_ONCE = 64 << 20
"""Bytes of prepared data up to which every process compares them with their fingerprint before it trains."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    task: Targets
    tokenizer: Tokenizer
    outputs: Outputs
    splits: Mapping[str, Split]
    notes: tuple[str, ...]
    """Messages about what was dropped or cut."""
    fingerprint: str
    """SHA-256 of the prepared files: the data's part of a run's identity."""
    marks: Marks
    """Marks of the files that are mapped, for `check`."""
    verification: Verification | None = None
    """The comparison of the files with their fingerprint, if it goes on in the background."""

    def check(self) -> None:
        """Raise RunError if the prepared files are damaged, or if somebody has written to them since they were opened. Waits for the
        verification."""
        check_unchanged(self.marks)
        if self.verification is not None:
            self.verification.wait()

    @property
    def labels(self) -> tuple[str, ...]:
        return self.outputs.labels


def prepare_corpus(
    config: DataConfig, task: Targets, like: Vocabulary | None = None, *, fixed_outputs: bool = False
) -> Corpus:
    """Open the prepared corpus. The first process prepares it, while the others wait for its lock.

    `like`: a trained model whose token ids are used; without it, the training split's characters get new ids.
    `fixed_outputs`: use its outputs too, and refuse other labels; otherwise labels come from the training split. The tokens
    that an encoder-decoder writes, and the scale of a number, are always those of `like`.
    UserError for any fault in the data, on every rank alike, before a process group exists.
    """
    tokenizer = like.tokenizer if like else None
    if tokenizer:  # it has decided, if data.lowercase=null
        config = config.model_copy(update={"lowercase": tokenizer.lowercase})
    outputs = like.outputs if like and (fixed_outputs or not like.outputs.labels) else None
    vocabulary = (tokenizer and tokenizer.to_dict(), outputs and outputs.to_dict())
    root = _cache_root(config)
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = (FORMAT, task.name, config.model_dump(mode="json", exclude={"cache_dir"}), vocabulary)
        content = (*about, identify(config, root))
        folder = root / hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]
        lock = FileLock(root / f"{folder.name}.lock")
        lock.acquire()
    except OSError as error:
        raise UserError(f"data.cache_dir: prepared data cannot be kept in {root}: {error}") from None
    try:
        if (corpus := _open(folder, task)) is None:
            with large_arrays_in(root):
                _write(folder, prepare(config, task, tokenizer, outputs, root, need_train=not fixed_outputs), task)
            corpus = _open(folder, task)
    except OSError as error:
        raise UserError(f"data: cannot be read, or not be kept in {root}: {error}") from None
    except MemoryError:
        raise UserError(
            "data: the rows do not fit into the memory while they are prepared; use fewer, or a larger machine"
        ) from None
    finally:
        lock.release()
    assert corpus is not None
    return _note_new_labels(corpus, like) if like else corpus


def _cache_root(config: DataConfig) -> Path:
    if config.cache_dir is not None:
        return Path(config.cache_dir).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lockstep"


def _note_new_labels(corpus: Corpus, like: Vocabulary) -> Corpus:
    new = [label for label in corpus.labels if label not in like.outputs.labels]
    if not new:
        return corpus
    shown = ", ".join(new[:8]) + ", ..." * (len(new) > 8)
    note = f"{len(new)} of {len(corpus.labels)} labels are new to train.init_from and start with new weights: {shown}"
    return replace(corpus, notes=(*corpus.notes, note))


def _write(folder: Path, prepared: Prepared, task: Targets) -> None:
    """Write flat files beside `folder`, and rename them at the end, so that a killed process leaves nothing that looks complete."""
    about = prepared.about()
    arrays: dict[str, NDArray[Any]] = {}
    for name, (sequences, targets) in prepared.encoded.items():
        split = Split.of(sequences, targets, about["characters"][name], task)
        arrays |= {f"{name}.{part}": array for part, array in split.arrays().items()}
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}.part-"))
    try:
        fingerprint = write(temporary, about, arrays)
        (temporary / "corpus.json").write_text(json.dumps(about | {"fingerprint": fingerprint}))
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _open(folder: Path, task: Targets) -> Corpus | None:
    """None if there is no corpus, or a damaged one, which is then prepared again. All bytes are compared with the fingerprint, because
    training would silently learn from a bit that flipped on the disk; those of a large corpus in the background."""
    try:
        about = json.loads((folder / "corpus.json").read_text())
        fingerprint = about.pop("fingerprint")
        marks, verification = mark(folder.glob("*.npy")), None
        if sum(size for _, size, _ in marks.values()) > VERIFIED_AT_ONCE:
            # One process of a host verifies for all of them.
            verification = Verification(folder, about, fingerprint) if describe_launch().local_rank == 0 else None
        elif digest(folder, about) != fingerprint:
            return None
        outputs, bits = Outputs.from_dict(about["outputs"]), about["unknown_bits"]
        splits = {
            name: Split(
                sequences=RaggedArray.open(folder / name),
                targets=_open_targets(folder / f"{name}.targets"),
                by_length=LengthOrder.open(folder / name),
                num_characters=count,
                unknown_bits=bits.get(name, 0.0),
                task=task,
                outputs=outputs,
            )
            for name, count in about["characters"].items()
        }
        return Corpus(
            task=task,
            tokenizer=Tokenizer(**about["tokenizer"]),
            outputs=outputs,
            splits=splits,
            notes=tuple(about["notes"]),
            fingerprint=fingerprint,
            marks=marks,
            verification=verification,
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _open_targets(stem: Path) -> Coded:
    if Path(f"{stem}.values.npy").exists():
        return RaggedArray.open(stem)
    single = Path(f"{stem}.npy")
    return np.asarray(np.load(single, mmap_mode="r")) if single.exists() else None
