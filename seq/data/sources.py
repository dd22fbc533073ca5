"""Where text comes from: the built-in sets, local files, or the hub."""

import hashlib
import importlib.metadata
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from seq.config import DataConfig
from seq.data import names, pronunciation, punctuation, speeches
from seq.data.columns import columns_of, make_rows, read_targets
from seq.data.conll import read_conll
from seq.data.examples import Examples, make_examples
from seq.data.hub import load_from_hub, read_hub
from seq.data.local_files import FORMATS, SPLITS, local_files, notes_on_files
from seq.data.tables import Batch, Form, note_on_quotes, read_table
from seq.data.targets import Targets
from seq.data.text_files import TextFile, codec, kind_of
from seq.errors import UserError
from seq.files import write_atomically

BUILT_IN = {"names": names, "speeches": speeches, "punctuation": punctuation, "pronunciation": pronunciation}
"""Each is a module with `load`, and PACKAGE, whose release decides the content."""


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
    if files:
        notes.extend(notes_on_files(files, config))
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


def _refuse_ignored(config: DataConfig) -> None:
    """UserError for a key that the source does not read, such as after a forgotten `data.source=csv`."""
    local = config.source in FORMATS or Path(config.source).expanduser().is_dir()
    files = [f"files.{split}" for split in SPLITS if getattr(config.files, split) is not None]
    ignored = [] if config.source in FORMATS else files
    ignored += ["subset"] * (config.subset is not None and local)
    ignored += ["revision"] * (config.revision is not None and (local or config.source in BUILT_IN))
    reads_csv = config.source == "csv" or (local and config.source not in (*FORMATS, *BUILT_IN))
    of_csv = {"columns": config.columns, "delimiter": config.delimiter, "quoting": config.quoting != "standard"}
    ignored += [name for name, value in of_csv.items() if value and not reads_csv]
    ignored += ["streaming"] * (config.streaming and (local or config.source in BUILT_IN))
    if ignored:
        raise UserError(
            f"data.{ignored[0]} is not read with data.source={config.source}; leave it out, or change data.source"
        )


def _read_files(split: str, paths: Sequence[Path], config: DataConfig, task: Targets, notes: list[str]) -> Examples:
    """The files of a split: documents, tokens with tags, or tables."""
    kind = config.source if config.source in FORMATS else str(kind_of(paths[0]))
    if kind == "text" and task.reads_tokens:
        return _with_targets(read_conll(split, paths, config), config, task)
    if kind == "text" and not task.labelled:
        return make_examples(split, [TextFile(path, codec(config.encoding)) for path in paths], None)
    return make_rows(split, _read_tables(split, paths, kind, config, columns_of(config, task), notes), config, task)


def _read_tables(
    split: str, paths: Sequence[Path], kind: str, config: DataConfig, columns: Mapping[str, str], notes: list[str]
) -> Iterator[tuple[str, Batch]]:
    """The rows, each batch with its file. A note says where quotation marks may have been misread."""
    form = Form.of(config)
    for path in paths:
        rows = 0
        for batch in read_table(path, kind, form, columns):
            yield str(path), batch
            rows += len(batch)
        if kind == "csv" and (note := note_on_quotes(path, form, rows)):
            notes.append(f"{split}: {note}")


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
