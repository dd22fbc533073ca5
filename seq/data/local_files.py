"""The local files of each split: those that the config names, or those of a folder."""

import filecmp
import glob
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from seq.config import DataConfig
from seq.data.tables import FILE
from seq.data.text_files import kind_of
from seq.errors import UserError

FORMATS = ("csv", "text", "json", "parquet")
SPLITS = ("train", "validation", "test")
SPLIT_WORDS = {
    "train": {"train", "training"},
    "validation": {"validation", "valid", "val", "dev", "development"},
    "test": {"test", "testing"},
}
"""A file of a folder belongs to the split of which its path inside the folder has a word, else to `train`."""
SHOWN_FILES = 5
"""Files to name in a note."""
Files = Mapping[str, Sequence[Path]]


def local_files(config: DataConfig) -> Files:
    """The files of each split; empty if the source is not local. UserError if a pattern matches none."""
    if config.source in FORMATS:
        return _named_files(config)
    folder = Path(config.source).expanduser()
    if folder.is_dir():
        return _files_of_folder(folder, config)
    if folder.exists() or folder.is_absolute() or kind_of(folder):
        known = kind_of(folder) or "text"
        raise UserError(
            f"data.source={config.source}: not a folder; for a file write data.source={known} data.files.train={folder}"
        )
    return {}


def _named_files(config: DataConfig) -> Files:
    """The files of `data.files`. One that is named for a split is in no other split whose folder or pattern has it."""
    patterns = {split: pattern for split in SPLITS if (pattern := getattr(config.files, split)) is not None}
    if not patterns:
        raise UserError(f"data.source={config.source} needs data.files.train: the file to train on")
    found = {split: _expand(f"data.files.{split}", pattern, config) for split, pattern in patterns.items()}
    named = {split: Path(pattern).expanduser() for split, pattern in patterns.items()}
    for split, paths in found.items():
        others = [path for other, path in named.items() if other != split and path.is_file()]
        if not named[split].is_file() and (left := [path for path in paths if path not in others]):
            found[split] = left
    return found


def _expand(key: str, pattern: str, config: DataConfig) -> list[Path]:
    """The file, the files of a folder, or those that a pattern matches."""
    path = Path(pattern).expanduser()
    if path.is_dir():
        paths = [file for file in _visible(path) if kind_of(file) == config.source]
    elif path.exists():
        paths = [path]
    else:
        # A folder's own name may have brackets.
        begin = glob.escape(str(path.parent)) if path.parent.is_dir() else str(path.parent)
        matches = glob.glob(str(Path(begin) / path.name), recursive=True)
        paths = sorted(Path(match) for match in matches if Path(match).is_file())
    if not paths:
        raise UserError(f"{key}={pattern}: there is no such file (looked in {Path.cwd()})")
    for file in paths:
        if file.stat().st_size == 0:
            raise UserError(f"{file}: the file is empty")
    return paths


def _files_of_folder(folder: Path, config: DataConfig) -> Files:
    """All files of the one kind that the folder holds, by split. A folder of one file for each label is training data."""
    found = [path for path in _visible(folder) if kind_of(path)]
    kinds = {kind_of(path) for path in found}
    if len(kinds) != 1:
        named = " and ".join(sorted(map(str, kinds))) or "no csv, text, json or parquet file"
        raise UserError(f"data.source={config.source}: the folder must hold files of one format, it has {named}")
    splits: dict[str, list[Path]] = {}
    for path in found:
        own = splits_named_in(path.relative_to(folder)) if config.label != FILE else []
        if len(own) > 1:
            raise UserError(f"{path}: its name says {' and '.join(own)}; rename it, or give data.files.*")
        splits.setdefault(own[0] if own else "train", []).append(path)
    return splits


def splits_named_in(path: Path) -> list[str]:
    """The splits of which the path has a word."""
    words = set(re.split(r"[^a-z]+", str(path).lower()))
    return [name for name, known in SPLIT_WORDS.items() if words & known]


def _visible(folder: Path) -> list[Path]:
    """The files of a folder and of those inside it, but hidden ones, and those of hidden folders."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def notes_on_files(files: Files, config: DataConfig) -> Iterator[str]:
    """What was found where a folder or a pattern was given, what was left out, and which files are the same."""
    given = {split: config.source if config.source not in FORMATS else getattr(config.files, split) for split in files}
    for split, paths in files.items():
        if not Path(given[split]).expanduser().is_file():
            yield f"{split}: {_shown(paths)}"
    read = {path for paths in files.values() for path in paths}
    folders = {Path(place).expanduser() for place in given.values() if Path(place).expanduser().is_dir()}
    if left := sorted({path for folder in folders for path in _visible(folder)} - read):
        yield f"left out: {_shown(left)}"
    for split, paths in files.items():
        ordered = sorted(paths, key=lambda path: path.stat().st_size)
        for first, second in pairwise(ordered):
            if first.stat().st_size == second.stat().st_size and filecmp.cmp(first, second, shallow=False):
                yield f"{split}: {first.name} and {second.name} are the same, so their rows count twice"


def _shown(paths: Sequence[Path]) -> str:
    shown = ", ".join(path.name for path in paths[:SHOWN_FILES])
    return f"{len(paths)} file(s): {shown}{', ...' * (len(paths) > SHOWN_FILES)}"
