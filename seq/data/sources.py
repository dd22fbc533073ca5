"""Where text comes from: the built-in sets, local files, or what `datasets.load_dataset` reads from the hub."""

import glob
import hashlib
import importlib.metadata
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from seq.config import DataConfig
from seq.data import names, pronunciation, punctuation, speeches
from seq.data.conll import read_conll
from seq.data.examples import Examples, Target, join_columns, make_examples
from seq.data.tables import FILE, Form, TextFile, codec, kind_of, read_table
from seq.data.targets import Targets
from seq.data.tokenizer import join_tokens, split_tokens
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
    tables = {} if files else _load_from_hub(config)
    splits: Sequence[str] = [name for name in SPLITS if name in (files or tables)]
    if need_train and "train" not in splits:
        raise UserError(
            f"data.source={config.source}: no train split; it has {', '.join(files or tables) or 'nothing'}"
        )
    if config.source not in FORMATS and files:
        notes.extend(f"{name}: {_named(files[name])}" for name in splits)
    read = _reader_of(config, task, notes)
    return {
        name: read(name, files[name]) if files else _examples_of(name, tables[name], config, task) for name in splits
    }


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


def _reader_of(config: DataConfig, task: Targets, notes: list[str]) -> Callable[[str, Sequence[Path]], Examples]:
    """How the files of a split are read: as tables, as documents, or as tokens with tags."""

    def kind(paths: Sequence[Path]) -> str:
        return config.source if config.source in FORMATS else str(kind_of(paths[0]))

    def read(split: str, paths: Sequence[Path]) -> Examples:
        if kind(paths) == "text" and task.reads_tokens:
            return _with_targets(read_conll(split, paths, config), config, task)
        if kind(paths) == "text" and not task.labelled:
            return make_examples(split, [TextFile(path, codec(config.encoding)) for path in paths], None)
        return _table(split, paths, kind(paths), config, task, notes)

    return read


def _columns(config: DataConfig, task: Targets) -> dict[str, str]:
    """Column -> the key that asks for it."""
    found = dict.fromkeys(config.text_columns, "data.text")
    return found | {config.label: "data.label"} if task.labelled else found


def _table(
    split: str, paths: Sequence[Path], kind: str, config: DataConfig, task: Targets, notes: list[str]
) -> Examples:
    texts, targets, columns = list[str](), list[Target](), _columns(config, task)
    broken: list[str] = []
    for path in paths:
        for batch in read_table(path, kind, Form.of(config), columns):
            where = f"{path}: {split} row"
            parts = [_texts(where, batch.first, name, batch.columns[name], task) for name in config.text_columns]
            texts += parts[0] if len(parts) == 1 else [join_columns(part) for part in zip(*parts, strict=True)]
            if task.labelled:
                targets += _targets(where, batch.first, batch.columns[config.label], config, task)
            if kind == "csv" and config.quoting == "standard":
                broken += _rows_with_lines(path, batch.first, parts, Form.of(config).delimiter_of(path))
    if broken:
        notes.append(
            f"{split}: {len(broken)} row(s) have a text with a line feed and the delimiter in it, such as {broken[0]}: if a quotation mark "
            "there is a letter like others, set data.quoting=none"
        )
    if config.tokenizer == "tokens":
        texts = [" ".join(split_tokens(text)) for text in texts]
    if not task.labelled:
        texts = [text.replace("\r\n", "\n") for text in texts]
    return make_examples(split, texts, targets if task.labelled else None)


def _rows_with_lines(path: Path, first: int, parts: Iterable[Sequence[str]], delimiter: str) -> Iterator[str]:
    for part in parts:
        for row, text in enumerate(part, first):
            if "\n" in text and delimiter in text:
                yield f"{path.name} row {row}"


def _texts(where: str, first: int, column: str, values: Sequence[Any], task: Targets) -> list[str]:
    return [_text(where, row, column, value, task) for row, value in enumerate(values, first)]


def _text(where: str, row: int, column: str, value: Any, task: Targets) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if task.reads_tokens and isinstance(value, list) and all(isinstance(token, str) for token in value):
        return join_tokens(value)
    advice = "; a row is an object for each line, or an element of an array" if isinstance(value, list) else ""
    raise UserError(f"{where} {row}: column {column!r} (data.text) holds {str(value)[:60]!r}, not text{advice}")


def _targets(where: str, first: int, values: Sequence[Any], config: DataConfig, task: Targets) -> Iterator[Target]:
    """The targets as the task has them. Equal texts are one object."""
    for row, value in enumerate(values, first):
        try:
            target = task.read(value, config)
            yield sys.intern(target) if isinstance(target, str) else target
        except ValueError as error:
            raise UserError(f"{where} {row}: column {config.label!r} (data.label) {str(error)[:200]}") from None


def _with_targets(split: Examples, config: DataConfig, task: Targets) -> Examples:
    if split.targets is None:
        return split
    return replace(split, targets=list(_targets(f"{split.origin} row", 1, split.targets, config, task)))


def _load_from_hub(config: DataConfig) -> Mapping[str, Any]:
    """`datasets` is imported only here: it takes a second or two, and only a first start needs it."""
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # faults are reported below, in one line
    try:
        loaded = datasets.load_dataset(path=config.source, name=config.subset, revision=config.revision)
    except Exception as error:
        # The library wraps the error; the innermost cause is the useful one.
        while error.__cause__ is not None:
            error = error.__cause__  # type: ignore[assignment]
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"data.source={config.source}: cannot be loaded: {reason[:300]}") from None
    return loaded  # type: ignore[no-any-return]


def _examples_of(split: str, table: Any, config: DataConfig, task: Targets) -> Examples:
    """A split of the hub."""
    for column, key in _columns(config, task).items():
        if column not in table.column_names:
            known = ", ".join(table.column_names)
            raise UserError(f"{split}: no column {column!r} ({key}); columns are {known}")
    where = f"{split} row"
    parts = [_texts(where, 1, column, table[column], task) for column in config.text_columns]
    texts = [join_columns(part) for part in zip(*parts, strict=True)]
    if config.tokenizer == "tokens":
        texts = [" ".join(split_tokens(text)) for text in texts]
    if not task.labelled:
        return make_examples(split, [text.replace("\r\n", "\n") for text in texts], None)
    values = _with_class_names(table.features[config.label], table[config.label])
    return make_examples(split, texts, list(_targets(where, 1, values, config, task)))


def _with_class_names(feature: Any, values: Any) -> Any:
    """Labels by name, where the data set has them by number (`ClassLabel`)."""
    inner: Any = getattr(feature, "feature", None)
    if hasattr(inner, "int2str"):
        return [None if row is None else [inner.int2str(value) for value in row] for row in values]
    if hasattr(feature, "int2str"):
        return [None if value is None or value < 0 else feature.int2str(value) for value in values]
    return values


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
