"""A prepared corpus: tokenised, cut, and kept in flat files. One process of a machine prepares it, all processes map it.

The files themselves are those of `seq.data.stored`.
"""

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from launch.context import describe_launch
from seq.config import DataConfig
from seq.data.examples import Examples, capitals_say_nothing, drop_empty, note_shared, split_validation
from seq.data.local_files import local_files
from seq.data.order import LengthOrder
from seq.data.outputs import Coded, NewVocabulary, Outputs, Vocabulary
from seq.data.progress import stage
from seq.data.ragged import BLOCK, Ints, RaggedArray, large_arrays_in, release
from seq.data.sources import BUILT_IN, identify, load_splits
from seq.data.split import Split
from seq.data.stored import Marks, Verification, check_unchanged, digest, mark, write
from seq.data.targets import Encoded, Targets
from seq.data.texts import blocks_of, size_of
from seq.data.tokenizer import UNKNOWN, Tokenizer
from seq.errors import UserError

FORMAT = 14
"""Increase this number when the same source and config would be prepared differently."""
SPACE = 3
"""Bytes on the disk for each byte of local files, while they are prepared."""
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
    if tokenizer:
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
                _write(folder, config, task, tokenizer, outputs, need_train=not fixed_outputs)
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


def _write(
    folder: Path,
    config: DataConfig,
    task: Targets,
    tokenizer: Tokenizer | None,
    outputs: Outputs | None,
    *,
    need_train: bool,
) -> None:
    """Write flat files from the source, beside `folder`, and rename them at the end, so that a killed process leaves nothing that looks
    complete."""
    size = _size_of_files(config)
    _check_space(folder.parent, size)
    notes: list[str] = []
    splits = _load(config, task, notes, size, need_train=need_train)
    if config.lowercase is None:
        config = config.model_copy(update={"lowercase": capitals_say_nothing(splits["train"].texts)})
        if config.lowercase:
            notes.append("read in lower case, since a capital begins nearly every word (data.lowercase=null)")
    splits = _with_validation(splits, config, task, notes)
    if tokenizer is None:
        options: dict[str, Any] = {name: getattr(config, name) for name in ("lowercase", "min_count", "vocab_size")}
        with stage("learning the vocabulary", size_of(splits["train"].texts)):
            tokenizer = Tokenizer.train(config.tokenizer, blocks_of(splits["train"].texts), **options)
    if outputs is None:
        outputs = task.learn(splits["train"].targets or (), config)
    with stage("encoding the data", sum(size_of(split.texts) for split in splits.values())):
        encoded = task.encode(splits, NewVocabulary(tokenizer, outputs), config, notes)
    unknown = _count_unknown(encoded, tokenizer, config, notes)
    # A validation split of pieces of the training text has no texts of its own.
    texts = {name: splits.get(name, splits.get("train")) for name in unknown if task.predicts_text}
    bits = {name: unknown[name] * _bits_of_unknown(own, tokenizer) for name, own in texts.items() if own is not None}
    if config.lowercase and task.predicts_text:
        notes.append(
            "the text is in lower case (data.lowercase): its bits per character leave out which letters were capitals"
        )
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}.part-"))
    try:
        about: dict[str, Any] = {
            "tokenizer": tokenizer.to_dict(),
            "outputs": outputs.to_dict(),
            "unknown_bits": bits,
            "notes": notes,
        }
        about["characters"] = {
            name: sum(map(tokenizer.count_characters, _targets_of(own))) for name, (own, _) in encoded.items()
        }
        arrays: dict[str, NDArray[Any]] = {}
        for name, (sequences, targets) in encoded.items():
            split = Split.of(sequences, targets, about["characters"][name], task)
            arrays |= {f"{name}.{part}": array for part, array in split.arrays().items()}
        fingerprint = write(temporary, about, arrays)
        (temporary / "corpus.json").write_text(json.dumps(about | {"fingerprint": fingerprint}))
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_space(root: Path, size: int) -> None:
    """UserError if the disk has no room for the prepared data of files of `size` bytes, and what they are made of meanwhile."""
    needed, free = SPACE * size, shutil.disk_usage(root).free
    if needed > free:
        raise UserError(
            f"data.cache_dir: preparing {size / 1e6:,.0f} MB needs about {needed / 1e6:,.0f} MB in {root}, which has {free / 1e6:,.0f} MB; "
            "make room, or choose another folder"
        )


def _size_of_files(config: DataConfig) -> int:
    """Bytes of the local files; 0 for other sources."""
    files = {} if config.source in BUILT_IN else local_files(config)
    return sum(path.stat().st_size for paths in files.values() for path in paths)


def _load(config: DataConfig, task: Targets, notes: list[str], size: int, *, need_train: bool) -> dict[str, Examples]:
    """The rows of each split that have text, from files of `size` bytes."""
    with stage("reading the data", size):
        loaded = load_splits(config, task, notes, need_train=need_train)
    return {name: drop_empty(split, config, notes) for name, split in loaded.items()}


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


def _targets_of(sequences: RaggedArray) -> Iterator[Ints]:
    """The tokens but the first of each sequence, which is a marker or the context of the next; a part at a time."""
    for first in range(0, len(sequences.values), BLOCK):
        part = sequences.values[first : first + BLOCK]
        inside = np.searchsorted(sequences.offsets, (first, first + len(part)))
        firsts = sequences.offsets[inside[0] : inside[1]]
        release(sequences.values)
        yield np.delete(part, firsts[firsts < first + len(part)] - first)


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


def _bits_of_unknown(split: Examples, tokenizer: Tokenizer) -> float:
    """Bits that identify one unknown character among all unknown characters of the text."""
    return math.log2(max(1, len(set[str]().union(*map(tokenizer.unknown, blocks_of(split.texts))))))


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
