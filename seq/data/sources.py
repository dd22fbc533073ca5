"""Where text comes from: the built-in sets, or anything that `datasets.load_dataset` reads."""

import glob
import hashlib
import importlib.metadata
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from seq.config import DataConfig
from seq.data import names, pronunciation, punctuation, speeches
from seq.data.conll import read_conll
from seq.data.examples import Examples, Target, join_columns, make_examples
from seq.data.lines import check_lines, codec, refuse_archive
from seq.data.targets import Targets
from seq.data.tokenizer import join_tokens, split_tokens
from seq.errors import UserError

BUILT_IN = {"names": names, "speeches": speeches, "punctuation": punctuation, "pronunciation": pronunciation}
"""Each is a module with `load`, and PACKAGE, whose release decides the content."""
FORMATS = ("csv", "text", "json", "parquet")
SUFFIXES = {".csv": "csv", ".txt": "text", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}
SPLITS = ("train", "validation", "test")


def load_splits(config: DataConfig, task: Targets, *, need_train: bool = True) -> dict[str, Examples]:
    """Those of `train`, `validation` and `test` that the source has. UserError if it cannot be read."""
    _refuse_ignored(config)
    if config.source in BUILT_IN:
        built_in: dict[str, Examples] = BUILT_IN[config.source].load(config.subset, task.labelled)
        return {name: _with_targets(split, config, task) for name, split in built_in.items()}
    lines = task.reads_tokens and config.source == "text"
    splits: Mapping[str, Any] = local_files(config) if lines else _load_with_datasets(config)
    if need_train and "train" not in splits:
        raise UserError(f"data.source={config.source}: no train split; it has {', '.join(splits) or 'nothing'}")
    if lines:
        for path in (path for paths in splits.values() for path in paths):
            check_lines(path, config)
        return {split: read_conll(split, paths, codec(config.encoding)) for split, paths in splits.items()}
    return {name: _examples(name, splits[name], config, task) for name in SPLITS if name in splits}


def identify(config: DataConfig) -> list[str]:
    """Return what decides the content beside the config: package releases, or digests of local files."""
    if config.source in BUILT_IN:
        package = BUILT_IN[config.source].PACKAGE
        with suppress(importlib.metadata.PackageNotFoundError):  # an optional package, which `load` then asks for
            return [f"{package}=={importlib.metadata.version(package)}"]
        return []
    return [f"{path}:{_sha256(path)}" for paths in local_files(config).values() for path in paths]


def local_files(config: DataConfig) -> dict[str, list[Path]]:
    """The files of each split, for local sources; empty for a hub id. UserError if a pattern matches none."""
    if config.source in FORMATS:
        patterns = {split: pattern for split in SPLITS if (pattern := getattr(config.files, split)) is not None}
        if not patterns:
            raise UserError(f"data.source={config.source} needs data.files.train: the file to train on")
        return {split: _expand(f"data.files.{split}", pattern) for split, pattern in patterns.items()}
    folder = Path(config.source)
    if folder.is_dir():
        return {"folder": sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES)}
    if folder.exists() or folder.is_absolute() or folder.suffix in SUFFIXES:
        known = SUFFIXES.get(folder.suffix, "text")
        raise UserError(
            f"data.source={config.source}: not a folder; for a file write data.source={known} data.files.train={folder}"
        )
    return {}


def _refuse_ignored(config: DataConfig) -> None:
    """UserError for a key that the source does not read, such as after a forgotten `data.source=csv`."""
    local = config.source in FORMATS or Path(config.source).is_dir()
    files = [f"files.{split}" for split in SPLITS if getattr(config.files, split) is not None]
    ignored = [] if config.source in FORMATS else files
    ignored += ["subset"] * (config.subset is not None and local)
    ignored += ["revision"] * (config.revision is not None and (local or config.source in BUILT_IN))
    if ignored:
        raise UserError(
            f"data.{ignored[0]} is not read with data.source={config.source}; leave it out, or change data.source"
        )


def _expand(key: str, pattern: str) -> list[Path]:
    paths = [Path(path) for path in sorted(glob.glob(pattern, recursive=True)) if Path(path).is_file()]
    if not paths:
        raise UserError(f"{key}={pattern}: there is no such file (looked in {Path.cwd()})")
    for path in paths:
        if path.stat().st_size == 0:
            raise UserError(f"{path}: the file is empty")
    return paths


def _load_with_datasets(config: DataConfig) -> Mapping[str, Any]:
    """`datasets` is imported only here: it takes a second or two, and only a first start needs it."""
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # faults are reported below, in one line
    files = local_files(config)
    for path in (path for paths in files.values() for path in paths):
        refuse_archive(path)
        if path.suffix != ".parquet":
            check_lines(path, config)
    arguments = _arguments(config, files)
    try:
        loaded = datasets.load_dataset(**arguments)
    except Exception as error:
        # The library wraps the error; the innermost cause is the useful one.
        while error.__cause__ is not None:
            error = error.__cause__  # type: ignore[assignment]
        if "corresponds to no data" in str(error):
            raise UserError(f"data.source={config.source}: no row with text in it") from None
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"data.source={config.source}: cannot be loaded: {reason[:300]}") from None
    return loaded  # type: ignore[no-any-return]


def _arguments(config: DataConfig, files: dict[str, list[Path]]) -> dict[str, Any]:
    """The arguments of `load_dataset`. Text files are read whole, because lockstep cuts them itself, at `data.unit`."""
    if not files:
        return {"path": config.source, "name": config.subset, "revision": config.revision}
    kind = config.source
    arguments: dict[str, Any] = {"data_files": {split: list(map(str, paths)) for split, paths in files.items()}}
    if "folder" in files:
        kinds = {SUFFIXES[path.suffix] for path in files["folder"]}
        if len(kinds) != 1:
            found = " and ".join(sorted(kinds)) or "no csv, text, json or parquet file"
            raise UserError(f"data.source={config.source}: the folder must hold files of one format, it has {found}")
        kind = kinds.pop()
        arguments = {"data_dir": str(Path(config.source).resolve())}
    if kind == "csv":
        # Without these, pandas turns the surname "NA" and an empty cell into None, and "007" into 7.
        as_text = dict.fromkeys([*config.text_columns, config.label], str)
        arguments |= {"sep": config.delimiter, "keep_default_na": False, "converters": as_text}
    if kind == "text":
        arguments |= {"sample_by": "document"}
    if kind != "parquet":
        arguments |= {"encoding": codec(config.encoding)}
    return {"path": kind} | arguments


def _examples(split: str, table: Any, config: DataConfig, task: Targets) -> Examples:
    label = config.label if task.labelled else None
    for key, column in (*(("data.text", column) for column in config.text_columns), ("data.label", label)):
        if column is not None and column not in table.column_names:
            columns = table.column_names
            likely = next((mark for mark in ";\t|," if len(columns) == 1 and mark in columns[0]), None)
            advice = f"; is data.delimiter={likely!r} meant?" if likely else ""
            raise UserError(f"{split}: no column {column!r} ({key}); columns are {', '.join(columns)}{advice}")
    columns = [
        [_text(split, row, column, value) for row, value in enumerate(table[column], 1)]
        for column in config.text_columns
    ]
    texts = [join_columns(parts) for parts in zip(*columns, strict=True)]
    if config.tokenizer == "tokens":
        texts = [" ".join(split_tokens(text)) for text in texts]
    if label is None:
        return make_examples(split, [text.replace("\r\n", "\n") for text in texts], None)
    return _with_targets(make_examples(split, texts, _named(table.features[label], table[label])), config, task)


def _named(feature: Any, values: Any) -> Any:
    """Labels by name, where the data set has them by number (`ClassLabel`)."""
    inner: Any = getattr(feature, "feature", None)
    if hasattr(inner, "int2str"):
        return [None if row is None else [inner.int2str(value) for value in row] for row in values]
    if hasattr(feature, "int2str"):
        return [None if value is None or value < 0 else feature.int2str(value) for value in values]
    return values


def _text(split: str, row: int, column: str, value: Any) -> str:
    if isinstance(value, list) and all(isinstance(token, str) for token in value):
        return join_tokens(value)
    if value is not None and not isinstance(value, str):
        raise UserError(f"{split} row {row}: column {column!r} (data.text) holds {value!r}, not text")
    return value or ""


def _with_targets(split: Examples, config: DataConfig, task: Targets) -> Examples:
    """The targets as the task has them."""
    if split.targets is None:
        return split
    targets = list[Target]()
    for row, value in zip(split.rows, split.targets, strict=True):
        try:
            targets.append(task.read(value, config))
        except ValueError as error:
            raise UserError(f"{split.origin} row {row}: column {config.label!r} (data.label) {error}") from None
    return replace(split, targets=targets)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
