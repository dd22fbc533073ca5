"""A prepared corpus: tokenised, cut and flat on disk, made once by one process of a machine, mapped by all."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from seq.config import DataConfig, Task
from seq.data.encode import Encoded, cut_rows, encode_splits
from seq.data.limits import check_split
from seq.data.line import Line
from seq.data.ragged import Ints, RaggedArray
from seq.data.sources import identify, load_splits
from seq.data.tokenizer import UNKNOWN, Tokenizer
from seq.errors import UserError

FORMAT = 7
"""Raise when the same source and config would be prepared otherwise."""


def time_steps(sequences: RaggedArray, task: Task) -> Ints:
    """Of each sequence: a language model's last token is target only."""
    return sequences.lengths - (0 if task == "classify" else 1)


@dataclass(frozen=True, kw_only=True)
class Split:
    """The sequences of one split, with the label id of each if they have labels, and what they are for."""

    sequences: RaggedArray
    labels: Ints | None
    line: Line
    """The sequences by length."""
    num_characters: int
    """Characters of text in a language model's targets (with the byte tokenizer, fewer than the tokens)."""
    task: Task

    @classmethod
    def of(cls, sequences: RaggedArray, labels: Ints | None, num_characters: int, task: Task) -> "Split":
        """With its line."""
        line = Line.of(time_steps(sequences, task))
        return cls(sequences=sequences, labels=labels, line=line, num_characters=num_characters, task=task)

    def __len__(self) -> int:
        return len(self.sequences)

    @property
    def lengths(self) -> Ints:
        """Time steps of each sequence."""
        return time_steps(self.sequences, self.task)


@dataclass(frozen=True, kw_only=True)
class Corpus:
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    """Classes by id, in alphabetical order; empty for a language model."""
    splits: Mapping[str, Split]
    notes: tuple[str, ...]
    """What was dropped or cut, in words."""
    fingerprint: str
    """SHA-256 of the prepared files: the data's part of a run's identity."""


def prepare_corpus(
    config: DataConfig, task: Task, *, tokenizer: Tokenizer | None = None, labels: Sequence[str] | None = None
) -> Corpus:
    """Open the prepared corpus; whichever process comes first prepares it while the others wait at the lock.

    `tokenizer` and `labels`: those of a trained model; where they are None, those of the training split.
    UserError for anything that is wrong with the data, on every rank alike, before a process group exists.
    """
    vocabulary = (None if tokenizer is None else tokenizer.to_dict(), labels and list(labels))
    about = [FORMAT, task, config.model_dump(mode="json", exclude={"cache_dir"}), vocabulary, identify(config)]
    key = hashlib.sha256(json.dumps(about).encode()).hexdigest()
    root = _cache_root(config)
    folder = root / key[:32]
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(root / f"{folder.name}.lock")
        lock.acquire()
    except OSError as error:
        raise UserError(f"data.cache_dir: prepared data cannot be kept in {root}: {error}") from None
    try:
        if (corpus := _open(folder)) is None:
            _write(folder, config, task, tokenizer, labels)
            corpus = _open(folder)
    except OSError as error:
        raise UserError(f"data: cannot be read, or not be kept in {root}: {error}") from None
    finally:
        lock.release()
    assert corpus is not None
    return corpus


def _cache_root(config: DataConfig) -> Path:
    if config.cache_dir is not None:
        return Path(config.cache_dir).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lockstep"


def _write(
    folder: Path, config: DataConfig, task: Task, tokenizer: Tokenizer | None, labels: Sequence[str] | None
) -> None:
    """Write everything beside `folder`, then rename: a killed preparation leaves nothing that looks whole."""
    notes: list[str] = []
    loaded = load_splits(config, labelled=task != "write", need_train=tokenizer is None or labels is None)
    splits = {name: check_split(split, config, notes) for name, split in loaded.items()}
    if "validation" not in splits and "train" in splits:
        splits |= cut_rows(splits["train"], config.validation_fraction)
    if tokenizer is None:
        texts = splits["train"].texts
        tokenizer = Tokenizer.train(config.tokenizer, texts, lowercase=config.lowercase, min_count=config.min_count)
    if labels is None:
        labels = sorted(set(splits["train"].labels or ()))
    encoded = encode_splits(splits, tokenizer, labels, config, notes)
    for name, (sequences, _) in encoded.items():
        if unknown := int((sequences.values == UNKNOWN).sum()):
            notes.append(
                f"{name}: {unknown} of {len(sequences.values)} tokens are characters that the vocabulary lacks"
            )
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}.part-"))
    try:
        _save(temporary, encoded, tokenizer, labels, notes, task)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _save(
    folder: Path,
    encoded: Mapping[str, Encoded],
    tokenizer: Tokenizer,
    labels: Sequence[str],
    notes: list[str],
    task: Task,
) -> None:
    characters: dict[str, int] = {}
    for name, (sequences, label_ids) in encoded.items():
        characters[name] = tokenizer.count_characters(np.delete(sequences.values, sequences.offsets[:-1]))
        sequences.save(folder / name)
        Split.of(sequences, label_ids, characters[name], task).line.save(folder / name)
        if label_ids is not None:
            np.save(folder / f"{name}.labels.npy", label_ids)
    about = {"task": task, "tokenizer": tokenizer.to_dict(), "labels": list(labels)}
    about |= {"characters": characters, "notes": notes}
    (folder / "corpus.json").write_text(json.dumps(about | {"fingerprint": _digest(folder, about)}))


def _digest(folder: Path, about: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for path in sorted(folder.glob("*.npy")):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _open(folder: Path) -> Corpus | None:
    """None where there is none, or a damaged one: it is prepared anew. All bytes are compared with the fingerprint: a
    bit that flipped on the disk would be learnt, silently."""
    try:
        about = json.loads((folder / "corpus.json").read_text())
        if (
            _digest(folder, {key: value for key, value in about.items() if key != "fingerprint"})
            != about["fingerprint"]
        ):
            return None
        return Corpus(
            tokenizer=Tokenizer(**about["tokenizer"]),
            labels=tuple(about["labels"]),
            splits={
                name: _open_split(folder, name, count, about["task"]) for name, count in about["characters"].items()
            },
            notes=tuple(about["notes"]),
            fingerprint=about["fingerprint"],
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _open_split(folder: Path, name: str, num_characters: int, task: Task) -> Split:
    labels = folder / f"{name}.labels.npy"
    mapped = np.load(labels, mmap_mode="r") if labels.exists() else None
    sequences, line = RaggedArray.open(folder / name), Line.open(folder / name)
    return Split(sequences=sequences, labels=mapped, line=line, num_characters=num_characters, task=task)
