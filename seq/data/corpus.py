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

from seq.config import DataConfig
from seq.data.cut import cut_streams, newline_id, split_long
from seq.data.limits import check_split, limit_length
from seq.data.ragged import Ints, RaggedArray, smallest_dtype
from seq.data.sources import Examples, identify, load_splits
from seq.data.tokenizer import Tokenizer, frame
from seq.errors import UserError

FORMAT = 1
"""Raise when the same source and config would be prepared otherwise."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """The sequences of one split; for a classifier the label id of each, and how long it is."""

    sequences: RaggedArray
    labels: Ints | None
    num_characters: int
    """Characters of text in a language model's targets (with the byte tokenizer, fewer than the tokens)."""

    def __len__(self) -> int:
        return len(self.sequences)

    @property
    def lengths(self) -> Ints:
        """Time steps of each sequence: a language model's last token is target only."""
        return self.sequences.lengths - (1 if self.labels is None else 0)


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
    config: DataConfig, *, labelled: bool, tokenizer: Tokenizer | None = None, labels: Sequence[str] = ()
) -> Corpus:
    """Open the prepared corpus; whichever process comes first prepares it while the others wait at the lock.

    `tokenizer` and `labels`: those of a trained model; without them, those of the training split.
    UserError for anything that is wrong with the data, on every rank alike, before a process group exists.
    """
    vocabulary = (None if tokenizer is None else tokenizer.to_dict(), list(labels))
    about = [FORMAT, labelled, config.model_dump(mode="json", exclude={"cache_dir"}), vocabulary, identify(config)]
    key = hashlib.sha256(json.dumps(about).encode()).hexdigest()
    root = _cache_root(config)
    folder = root / key[:32]
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f"{folder.name}.lock"):
            if not (folder / "corpus.json").exists():
                _write(folder, config, labelled, tokenizer, labels)
        return _open(folder)
    except OSError as error:
        raise UserError(f"data.cache_dir: prepared data cannot be kept in {root}: {error}") from None


def _cache_root(config: DataConfig) -> Path:
    if config.cache_dir is not None:
        return Path(config.cache_dir).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lockstep"


def _write(
    folder: Path, config: DataConfig, labelled: bool, tokenizer: Tokenizer | None, labels: Sequence[str]
) -> None:
    """Write everything beside `folder`, then rename: a killed preparation leaves nothing that looks whole."""
    splits = load_splits(config, labelled=labelled)
    notes: list[str] = []
    splits = {name: check_split(name, split, config, notes) for name, split in splits.items()}
    if "validation" not in splits:
        splits = _cut_validation(splits, config.validation_fraction)
    tokenizer = tokenizer or Tokenizer.train(
        config.tokenizer, splits["train"].texts, lowercase=config.lowercase, min_count=config.min_count
    )
    labels = labels or sorted(set(splits["train"].labels or ()))
    characters = {}
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}.part-"))
    for name, split in splits.items():
        sequences, label_ids = _tokenise(name, split, tokenizer, labels, config, notes)
        sequences.save(temporary / name)
        targets = np.delete(sequences.values, sequences.offsets[:-1])
        characters[name] = tokenizer.count_characters(targets)
        if label_ids is not None:
            np.save(temporary / f"{name}.labels.npy", label_ids)
    about = {"tokenizer": tokenizer.to_dict(), "labels": list(labels), "characters": characters, "notes": notes}
    (temporary / "corpus.json").write_text(json.dumps(about | {"fingerprint": _digest(temporary, about)}))
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def _tokenise(
    name: str, split: Examples, tokenizer: Tokenizer, labels: Sequence[str], config: DataConfig, notes: list[str]
) -> tuple[RaggedArray, Ints | None]:
    encoded = tokenizer.encode(split.texts)
    narrow = encoded.values.astype(smallest_dtype(tokenizer.vocab_size))
    encoded = RaggedArray(narrow, encoded.offsets)
    if split.labels is None:
        if name != "train" and config.evaluation_max_length is not None:
            config = config.model_copy(update={"max_length": config.evaluation_max_length})
        sequences = cut_streams(frame(encoded), config.unit, newline_id(tokenizer))
        if config.unit == "window" or config.too_long in ("auto", "split"):
            return split_long(sequences, config.max_length), None
        return limit_length(name, sequences, config, notes, markers=1)[0], None
    encoded, kept = limit_length(name, encoded, config, notes, markers=0)
    return frame(encoded), _label_ids(name, [split.labels[row] for row in kept], labels)


def _label_ids(name: str, given: list[str], labels: Sequence[str]) -> Ints:
    ids = {label: place for place, label in enumerate(labels)}
    for row, label in enumerate(given, 1):
        if label not in ids:
            raise UserError(
                f"{name} row {row}: label {label!r} does not occur in the training data "
                f"({len(labels)} labels: {', '.join(labels[:8])}{', ...' if len(labels) > 8 else ''})"
            )
    return np.array([ids[label] for label in given], np.int32)


def _cut_validation(splits: dict[str, Examples], fraction: float) -> dict[str, Examples]:
    """Move the rows whose text hashes below `fraction`: equal texts stay on one side, and more rows move none."""
    train = splits["train"]
    hashes = [int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "big") for text in train.texts]
    chosen = np.array(hashes, dtype=np.float64) < fraction * 2**56
    if chosen.all() or not chosen.any():
        # Too few rows for a hash to part them: the last one validates, and a single row does both.
        chosen = np.arange(len(hashes)) == max(1, len(hashes) - 1)
    validation = np.flatnonzero(chosen) if chosen.any() else np.arange(len(hashes))
    return splits | {"train": _rows(train, np.flatnonzero(~chosen)), "validation": _rows(train, validation)}


def _rows(examples: Examples, rows: Ints) -> Examples:
    labels = None if examples.labels is None else [examples.labels[row] for row in rows]
    return Examples(texts=[examples.texts[row] for row in rows], labels=labels)


def _digest(folder: Path, about: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for path in sorted(folder.glob("*.npy")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _open(folder: Path) -> Corpus:
    about = json.loads((folder / "corpus.json").read_text())
    return Corpus(
        tokenizer=Tokenizer(**about["tokenizer"]),
        labels=tuple(about["labels"]),
        splits={name: _open_split(folder, name, count) for name, count in about["characters"].items()},
        notes=tuple(about["notes"]),
        fingerprint=about["fingerprint"],
    )


def _open_split(folder: Path, name: str, num_characters: int) -> Split:
    labels = folder / f"{name}.labels.npy"
    mapped = np.load(labels, mmap_mode="r") if labels.exists() else None
    return Split(sequences=RaggedArray.open(folder / name), labels=mapped, num_characters=num_characters)
