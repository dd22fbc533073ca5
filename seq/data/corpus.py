"""A prepared corpus: tokenised, cut, and kept in flat files. One process of a machine prepares it, all processes map it."""

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from filelock import FileLock

from seq.config import DataConfig, Task
from seq.data.encode import encode_splits
from seq.data.examples import drop_empty, split_validation
from seq.data.outputs import Outputs
from seq.data.prepared import Marks, digest, mark, open_split, save_files
from seq.data.sources import identify, load_splits
from seq.data.split import Split
from seq.data.targets import TARGETS
from seq.data.tokenizer import UNKNOWN, Tokenizer
from seq.errors import UserError
from seq.terminal import spinner

FORMAT = 10
"""Raise it when the same source and config would be prepared differently."""
TEXT_TASKS: tuple[Task, ...] = ("language_modeling", "conditional_language_modeling")


class Vocabulary(Protocol):
    """The meaning of ids. A trained model has one, and so has a corpus."""

    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def outputs(self) -> Outputs: ...


@dataclass(frozen=True, kw_only=True)
class Corpus:
    tokenizer: Tokenizer
    outputs: Outputs
    splits: Mapping[str, Split]
    notes: tuple[str, ...]
    """Messages about what was dropped or cut."""
    fingerprint: str
    """SHA-256 of the prepared files: the data's part of a run's identity."""
    marks: Marks
    """Marks of the files that are mapped, for `check_unchanged`."""

    @property
    def labels(self) -> tuple[str, ...]:
        return self.outputs.labels

    @property
    def task(self) -> Task:
        return next(iter(self.splits.values())).task


def prepare_corpus(
    config: DataConfig, task: Task, like: Vocabulary | None = None, *, fixed_outputs: bool = False
) -> Corpus:
    """Open the prepared corpus. The first process that comes prepares it while the others wait at the lock.

    `like`: a trained model whose token ids are used; without it, the training split's characters get new ids.
    `fixed_outputs`: use its outputs too, and refuse other labels; otherwise labels come from the training split. The tokens
    that an encoder-decoder writes, and the scale of a number, are always those of `like`.
    UserError for any fault in the data, on every rank alike, before a process group exists.
    """
    tokenizer = like.tokenizer if like else None
    outputs = like.outputs if like and (fixed_outputs or not like.outputs.labels) else None
    vocabulary = (tokenizer and tokenizer.to_dict(), outputs and outputs.to_dict())
    about = (FORMAT, task, config.model_dump(mode="json", exclude={"cache_dir"}), vocabulary, identify(config))
    root = _cache_root(config)
    folder = root / hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(root / f"{folder.name}.lock")
        lock.acquire()
    except OSError as error:
        raise UserError(f"data.cache_dir: prepared data cannot be kept in {root}: {error}") from None
    try:
        if (corpus := _open(folder)) is None:
            _write(folder, config, task, tokenizer, outputs, not fixed_outputs)
            corpus = _open(folder)
    except OSError as error:
        raise UserError(f"data: cannot be read, or not be kept in {root}: {error}") from None
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


@spinner("preparing the data, once")
def _write(
    folder: Path, config: DataConfig, task: Task, tokenizer: Tokenizer | None, outputs: Outputs | None, need_train: bool
) -> None:
    """Write flat files from the source, beside `folder`, and rename them at the end, so that a killed process leaves nothing that looks
    complete."""
    notes: list[str] = []
    loaded = load_splits(config, task, need_train=need_train)
    splits = {name: drop_empty(split, config, notes) for name, split in loaded.items()}
    if "validation" not in splits and "train" in splits:
        splits |= split_validation(splits["train"], config, TARGETS[task].labels)
    if config.train_on_validation and "validation" in splits:
        splits["train"] = splits["train"].with_rows_of(splits.pop("validation"))
    if tokenizer is None:
        texts = splits["train"].texts
        options: dict[str, Any] = {name: getattr(config, name) for name in ("lowercase", "min_count", "vocab_size")}
        tokenizer = Tokenizer.train(config.tokenizer, texts, **options)
    if outputs is None:
        outputs = TARGETS[task].learn(splits["train"].targets or (), config)
    encoded = encode_splits(splits, task, tokenizer, outputs, config, notes)
    unknown_bits: dict[str, float] = {}
    for name, (sequences, _) in encoded.items():
        if unknown := int((np.delete(sequences.values, sequences.offsets[:-1]) == UNKNOWN).sum()):
            # A validation split of pieces of the training text has no texts of its own.
            own = splits[name if name in splits else "train"].texts
            missing = tokenizer.unknown("".join(own)) if task in TEXT_TASKS else []
            unknown_bits[name] = unknown * math.log2(max(1, len(missing)))
            notes.append(
                f"{name}: {unknown} of {len(sequences.values)} tokens are {tokenizer.kind} that the vocabulary lacks"
            )
    if config.lowercase and task in TEXT_TASKS:
        notes.append(
            "the text is in lower case (data.lowercase): its bits per character leave out which letters were capitals"
        )
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}.part-"))
    try:
        save_files(temporary, encoded, tokenizer, outputs, notes, task, unknown_bits)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _open(folder: Path) -> Corpus | None:
    """None if there is no corpus, or a damaged one, which is then prepared again. All bytes are compared with the
    fingerprint: training would silently learn from a bit that flipped on the disk."""
    try:
        about = json.loads((folder / "corpus.json").read_text())
        fingerprint = about.pop("fingerprint")
        marks = mark(folder.glob("*.npy"))
        if digest(folder, about) != fingerprint:
            return None
        task, outputs = about["task"], Outputs.from_dict(about["outputs"])
        bits = about["unknown_bits"]
        splits = {
            name: open_split(folder / name, count, bits.get(name, 0.0), task, outputs)
            for name, count in about["characters"].items()
        }
        return Corpus(
            tokenizer=Tokenizer(**about["tokenizer"]),
            outputs=outputs,
            splits=splits,
            notes=tuple(about["notes"]),
            fingerprint=fingerprint,
            marks=marks,
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
