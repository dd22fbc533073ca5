"""Where text comes from: the built-in sets, local files, or the hub."""

import glob
import hashlib
import importlib.metadata
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from seq.config import DataConfig
from seq.data import names, pronunciation, punctuation, speeches
from seq.data.columns import columns_of, make_rows, read_targets, rows_with_lines
from seq.data.conll import read_conll
from seq.data.examples import Examples, make_examples
from seq.data.hub import load_from_hub, read_hub
from seq.data.tables import FILE, Batch, Form, TextFile, codec, kind_of, read_table
from seq.data.targets import Targets
from seq.errors import UserError
from seq.files import write_atomically

BUILT_IN = {"names": names, "speeches": speeches, "punctuation": punctuation, "pronunciation": pronunciation}
"""Each is a module with `load`, and PACKAGE, whose release decides the content."""
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


def load_splits(config: DataConfig, task: Targets, notes: list[str], *, need_train: bool = True) -> dict[str, Examples]:
    """Those of `train`, `validation` and `test` that the source has. UserError if it cannot be read."""
    _refuse_ignored(config)
    if config.source in BUILT_IN:
        built_in: dict[str, Examples] = BUILT_IN[config.source].load(config.subset, task.labelled)
        return {name: _with_targets(split, config, task) for name, split in built_in.items()}
    files = local_files(config)
    tables = {} if files else load_from_hub(config)
    splits: Sequence[str] = [name for name in SPLITS if name in (files or tables)]
    if need_train and "train" not in splits:
        raise UserError(
            f"data.source={config.source}: no train split; it has {', '.join(files or tables) or 'nothing'}"
        )
    if config.source not in FORMATS and files:
        notes.extend(f"{name}: {_named(files[name])}" for name in splits)
    if files:
        return {name: _read_files(name, files[name], config, task, notes) for name in splits}
    columns = columns_of(config, task)
    return {name: make_rows(name, read_hub(name, tables[name], config, columns), config, task) for name in splits}


def identify(config: DataConfig, digests: Path | None = None) -> list[str]:
    """Return what decides the content beside the config: package releases, or digests of local files. `digests`: where digests are kept
    between starts."""
    if config.source in BUILT_IN:
        package = BUILT_IN[config.source].PACKAGE
        with suppress(importlib.metadata.PackageNotFoundError):  # an optional package, which `load` then asks for
            return [f"{package}=={importlib.metadata.version(package)}"]
        return []
    return [f"{path}:{_sha256(path, digests)}" for paths in local_files(config).values() for path in paths]


def local_files(config: DataConfig) -> dict[str, list[Path]]:
    """The files of each split, for local sources; empty for a built-in set and a hub id. UserError if a pattern matches none."""
    if config.source in BUILT_IN:
        return {}
    if config.source in FORMATS:
        patterns = {split: pattern for split in SPLITS if (pattern := getattr(config.files, split)) is not None}
        if not patterns:
            raise UserError(f"data.source={config.source} needs data.files.train: the file to train on")
        return {split: _expand(f"data.files.{split}", pattern, config) for split, pattern in patterns.items()}
    folder = Path(config.source).expanduser()
    if folder.is_dir():
        return _files_of_folder(folder, config)
    if folder.exists() or folder.is_absolute() or kind_of(folder):
        known = kind_of(folder) or "text"
        raise UserError(
            f"data.source={config.source}: not a folder; for a file write data.source={known} data.files.train={folder}"
        )
    return {}


def _refuse_ignored(config: DataConfig) -> None:
    """UserError for a key that the source does not read, such as after a forgotten `data.source=csv`."""
    local = config.source in FORMATS or Path(config.source).expanduser().is_dir()
    files = [f"files.{split}" for split in SPLITS if getattr(config.files, split) is not None]
    ignored = [] if config.source in FORMATS else files
    ignored += ["subset"] * (config.subset is not None and local)
    ignored += ["revision"] * (config.revision is not None and (local or config.source in BUILT_IN))
    ignored += ["columns"] * (config.columns is not None and not local)
    ignored += ["streaming"] * (config.streaming and (local or config.source in BUILT_IN))
    if ignored:
        raise UserError(
            f"data.{ignored[0]} is not read with data.source={config.source}; leave it out, or change data.source"
        )


def _files_of_folder(folder: Path, config: DataConfig) -> dict[str, list[Path]]:
    """All files of the one kind that the folder holds, by split. A folder of one file for each label is training data."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and kind_of(path) and path.name[0] != ".")
    kinds = {kind_of(path) for path in found}
    if len(kinds) != 1:
        named = " and ".join(sorted(map(str, kinds))) or "no csv, text, json or parquet file"
        raise UserError(f"data.source={config.source}: the folder must hold files of one format, it has {named}")
    splits: dict[str, list[Path]] = {}
    for path in found:
        words = set(re.split(r"[^a-z]+", str(path.relative_to(folder)).lower()))
        own = [name for name, known in SPLIT_WORDS.items() if words & known and config.label != FILE]
        if len(own) > 1:
            raise UserError(f"{path}: its name says {' and '.join(own)}; rename it, or give data.files.*")
        splits.setdefault(own[0] if own else "train", []).append(path)
    return splits


def _expand(key: str, pattern: str, config: DataConfig) -> list[Path]:
    """The file, the files of a folder, or those that a pattern matches."""
    path = Path(pattern).expanduser()
    if path.is_dir():
        paths = sorted(file for file in path.rglob("*") if file.is_file() and kind_of(file) == config.source)
    else:
        matches = [str(path)] if path.exists() else sorted(glob.glob(str(path), recursive=True))
        paths = [Path(match) for match in matches if Path(match).is_file()]
    if not paths:
        raise UserError(f"{key}={pattern}: there is no such file (looked in {Path.cwd()})")
    for path in paths:
        if path.stat().st_size == 0:
            raise UserError(f"{path}: the file is empty")
    return paths


def _named(paths: Sequence[Path]) -> str:
    shown = ", ".join(path.name for path in paths[:SHOWN_FILES])
    return f"{len(paths)} file(s): {shown}{', ...' * (len(paths) > SHOWN_FILES)}"


def _read_files(split: str, paths: Sequence[Path], config: DataConfig, task: Targets, notes: list[str]) -> Examples:
    """The files of a split: documents, tokens with tags, or tables."""
    kind = config.source if config.source in FORMATS else str(kind_of(paths[0]))
    if kind == "text" and task.reads_tokens:
        return _with_targets(read_conll(split, paths, config), config, task)
    if kind == "text" and not task.labelled:
        return make_examples(split, [TextFile(path, codec(config.encoding)) for path in paths], None)
    broken = list[str]()
    found = make_rows(split, _read_tables(split, paths, kind, config, columns_of(config, task), broken), config, task)
    if broken:
        notes.append(
            f"{split}: {len(broken)} row(s) have a text with a line feed and the delimiter in it, such as {broken[0]}: if a quotation mark "
            "there is a letter like others, set data.quoting=none"
        )
    return found


def _read_tables(
    split: str, paths: Sequence[Path], kind: str, config: DataConfig, columns: Mapping[str, str], broken: list[str]
) -> Iterator[tuple[str, Batch]]:
    """The rows with their origin. Those that may be `broken` are added to the list."""
    form = Form.of(config)
    for path in paths:
        for batch in read_table(path, kind, form, columns):
            if kind == "csv" and form.quoting:
                rows = rows_with_lines(batch, config.text_columns, form.delimiter_of(path))
                broken.extend(f"{path.name} row {row}" for row in rows)
            yield f"{path}: {split} row", batch


def _with_targets(split: Examples, config: DataConfig, task: Targets) -> Examples:
    if split.targets is None:
        return split
    return replace(split, targets=list(read_targets(f"{split.origin} row", 1, split.targets, config, task)))


def _sha256(path: Path, digests: Path | None) -> str:
    """The digest of a file. It is kept in the folder `digests` with what the file system says of the file, and used again until that
    changes: `ctime` changes with every write, also of a program that sets the time of the last change."""
    try:
        about = path.stat()
        known = [about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino, about.st_dev]
        kept = digests and digests / f"{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:32]}.digest"
        if kept:
            with suppress(OSError, ValueError, TypeError):
                then, digest = json.loads(kept.read_text())
                if then == known and isinstance(digest, str):
                    return digest
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if kept:
            with suppress(OSError):
                write_atomically(kept, json.dumps([known, digest]))
        return digest
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
