"""From a source to token ids: read its rows, choose those that validate, learn the vocabulary, encode."""

import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seq.config import DataConfig
from seq.data.examples import Examples, capitals_say_nothing, drop_empty, note_shared, split_validation
from seq.data.local_files import local_files
from seq.data.outputs import NewVocabulary, Outputs
from seq.data.progress import stage
from seq.data.ragged import BLOCK, Ints, RaggedArray, release
from seq.data.sources import BUILT_IN, load_splits
from seq.data.targets import Encoded, Targets
from seq.data.texts import blocks_of, size_of
from seq.data.tokenizer import UNKNOWN, Tokenizer
from seq.errors import UserError

SPACE = 3
"""Bytes on the disk for each byte of local files, while they are prepared."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    vocabulary: NewVocabulary
    encoded: Mapping[str, Encoded]
    """The token ids of each split, with their targets."""
    unknown_bits: Mapping[str, float]
    """Bits that identify the unknown characters of each split that has some, for bits per character."""
    notes: list[str]
    """Messages about what was dropped or cut."""

    def about(self) -> dict[str, Any]:
        """What is kept beside the arrays, as JSON."""
        tokenizer, outputs = self.vocabulary
        characters = {
            name: sum(map(tokenizer.count_characters, _targets_of(own))) for name, (own, _) in self.encoded.items()
        }
        return {
            "tokenizer": tokenizer.to_dict(),
            "outputs": outputs.to_dict(),
            "unknown_bits": self.unknown_bits,
            "notes": self.notes,
            "characters": characters,
        }


def prepare(
    config: DataConfig,
    task: Targets,
    tokenizer: Tokenizer | None,
    outputs: Outputs | None,
    root: Path,
    *,
    need_train: bool,
) -> Prepared:
    """`tokenizer`, `outputs`: those of a trained model; None: they are learned from the training split. `root`: where the data will be
    kept. UserError for any fault in the data."""
    notes: list[str] = []
    splits = _load(config, task, notes, root, need_train=need_train)
    if config.lowercase is None:
        config = config.model_copy(update={"lowercase": capitals_say_nothing(splits["train"].texts)})
        if config.lowercase:
            notes.append(
                "read in lower case, since nearly all texts are written Like This; data.lowercase=false keeps capitals"
            )
    splits = _with_validation(splits, config, task, notes)
    tokenizer = tokenizer or _learn_tokens(splits["train"], config)
    vocabulary = NewVocabulary(tokenizer, outputs or task.learn(splits["train"].targets or (), config))
    with stage("encoding the data", sum(size_of(split.texts) for split in splits.values())):
        encoded = task.encode(splits, vocabulary, config, notes)
    unknown = _count_unknown(encoded, tokenizer, config, notes)
    bits = _bits_of_unknown(unknown, splits, tokenizer) if task.predicts_text else {}
    if config.lowercase and task.predicts_text:
        notes.append(
            "the text is in lower case (data.lowercase): its bits per character leave out which letters were capitals"
        )
    return Prepared(vocabulary=vocabulary, encoded=encoded, unknown_bits=bits, notes=notes)


def _load(config: DataConfig, task: Targets, notes: list[str], root: Path, *, need_train: bool) -> dict[str, Examples]:
    """The rows of each split that have text."""
    size = _size_of_files(config)
    _check_space(root, size)
    with stage("reading the data", size):
        loaded = load_splits(config, task, notes, need_train=need_train)
    return {name: drop_empty(split, config, notes) for name, split in loaded.items()}


def _size_of_files(config: DataConfig) -> int:
    """Bytes of the local files; 0 for other sources."""
    files = {} if config.source in BUILT_IN else local_files(config)
    return sum(path.stat().st_size for paths in files.values() for path in paths)


def _check_space(root: Path, size: int) -> None:
    """UserError if the disk has no room for the prepared data of files of `size` bytes, and what they are made of meanwhile."""
    needed, free = SPACE * size, shutil.disk_usage(root).free
    if needed > free:
        raise UserError(
            f"data.cache_dir: preparing {size / 1e6:,.0f} MB needs about {needed / 1e6:,.0f} MB in {root}, which has {free / 1e6:,.0f} MB; "
            "make room, or choose another folder"
        )


def _with_validation(
    splits: dict[str, Examples], config: DataConfig, task: Targets, notes: list[str]
) -> dict[str, Examples]:
    """`splits` with a validation split, if it is not given; or with its rows in `train`, if they are to train."""
    if config.source not in BUILT_IN:
        notes.extend(note_shared(splits, config))
    if "validation" not in splits and "train" in splits:
        splits |= split_validation(splits["train"], config, task.labels, notes)
    if config.train_on_validation and "validation" in splits:
        splits["train"] = splits["train"].with_rows_of(splits.pop("validation"))
    return splits


def _learn_tokens(train: Examples, config: DataConfig) -> Tokenizer:
    options: dict[str, Any] = {name: getattr(config, name) for name in ("lowercase", "min_count", "vocab_size")}
    with stage("learning the vocabulary", size_of(train.texts)):
        return Tokenizer.train(config.tokenizer, blocks_of(train.texts), **options)


def _count_unknown(
    encoded: Mapping[str, Encoded], tokenizer: Tokenizer, config: DataConfig, notes: list[str]
) -> dict[str, int]:
    """Return the number of tokens of each split that the vocabulary lacks; splits without such tokens are left out."""
    found = {
        name: sum(int((part == UNKNOWN).sum()) for part in _targets_of(sequences))
        for name, (sequences, _) in encoded.items()
    }
    never_learned = tokenizer.kind == "tokens" and config.min_count == 1
    advice = "; with data.min_count=2, rare and new ones are read by their last letters" if never_learned else ""
    for name, count in found.items():
        if count:
            of = len(encoded[name][0].values)
            notes.append(f"{name}: {count} of {of} tokens are {tokenizer.kind} that the vocabulary lacks{advice}")
    return {name: count for name, count in found.items() if count}


def _bits_of_unknown(
    unknown: Mapping[str, int], splits: Mapping[str, Examples], tokenizer: Tokenizer
) -> dict[str, float]:
    """The bits that identify the `unknown` characters of each split, one among all unknown characters of its text."""
    bits = dict[str, float]()
    for name, count in unknown.items():
        # A validation split of pieces of the training text has no texts of its own.
        if split := splits.get(name, splits.get("train")):
            different = set[str]().union(*map(tokenizer.unknown, blocks_of(split.texts)))
            bits[name] = count * math.log2(max(1, len(different)))
    return bits


def _targets_of(sequences: RaggedArray) -> Iterator[Ints]:
    """The tokens but the first of each sequence, which is a marker or the context of the next; a part at a time."""
    for first in range(0, len(sequences.values), BLOCK):
        part = sequences.values[first : first + BLOCK]
        inside = np.searchsorted(sequences.offsets, (first, first + len(part)))
        firsts = sequences.offsets[inside[0] : inside[1]]
        release(sequences.values)
        yield np.delete(part, firsts[firsts < first + len(part)] - first)
