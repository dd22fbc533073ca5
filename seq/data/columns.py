"""From the columns of a table to texts with their targets."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from seq.config import DataConfig
from seq.data.examples import Examples, Target, join_columns, make_examples
from seq.data.tables import Batch
from seq.data.targets import Targets
from seq.data.texts import TextWriter
from seq.data.tokenizer import refuse_list_as_text
from seq.data.tokens import join_tokens, split_tokens
from seq.errors import UserError


def columns_of(config: DataConfig, task: Targets) -> dict[str, str]:
    """The columns to read, each with the key that asks for it."""
    found = dict.fromkeys(config.text_columns, "data.text")
    return found | {config.label: "data.label"} if task.labelled else found


def make_rows(split: str, batches: Iterable[tuple[str, Batch]], config: DataConfig, task: Targets) -> Examples:
    """The rows of a split. `batches`: each with its file, or "". UserError for a cell that holds no text, or no target."""
    texts, targets = TextWriter(), TextWriter() if task.writes_text else list[Target]()
    files, rows = dict[str, int](), 0
    for file, batch in batches:
        where = f"{file}: {split} row" if file else f"{split} row"
        files.setdefault(file, rows)
        rows += len(batch)
        texts.extend(_joined(where, batch, config, task))
        if task.labelled:
            targets.extend(read_targets(where, batch.first, batch.columns[config.label], config, task))
    found = targets.close() if isinstance(targets, TextWriter) else targets
    several = [(first, file) for file, first in files.items()] if len(files) > 1 else []
    return make_examples(split, texts.close(), found if task.labelled else None, several)


def _joined(where: str, batch: Batch, config: DataConfig, task: Targets) -> Iterable[str]:
    """The text of each row, from one column or several."""
    parts = [
        [value if isinstance(value, str) else _text(where, row, name, value, task) for row, value in column]
        for name, column in ((name, enumerate(batch.columns[name], batch.first)) for name in config.text_columns)
    ]
    texts = parts[0] if len(parts) == 1 else map(join_columns, zip(*parts, strict=True))
    if config.tokenizer == "tokens":
        return [" ".join(_tokens(where, row, text)) for row, text in enumerate(texts, batch.first)]
    return texts if task.labelled else (text.replace("\r\n", "\n") for text in texts)


def _tokens(where: str, row: int, text: str) -> list[str]:
    try:
        refuse_list_as_text(text, "blanks between the tokens")
    except ValueError as error:
        raise UserError(f"{where} {row}: column data.text {error}") from None
    return split_tokens(text)


def _text(where: str, row: int, column: str, value: Any, task: Targets) -> str:
    """The text of a cell that holds none: null is an empty text, and a list may be tokens."""
    if value is None:
        return ""
    if task.reads_tokens and isinstance(value, list) and all(isinstance(token, str) for token in value):
        return join_tokens(value)
    advice = "; a row is an object for each line, or an element of an array" if isinstance(value, list) else ""
    raise UserError(f"{where} {row}: column {column!r} (data.text) holds {str(value)[:60]!r}, not text{advice}")


def read_targets(where: str, first: int, values: Iterable[Any], config: DataConfig, task: Targets) -> Iterator[Target]:
    """The targets as the task has them. Equal texts are one object."""
    known = dict[str, Target]()
    for row, value in enumerate(values, first):
        if isinstance(value, str) and value in known:
            yield known[value]
            continue
        try:
            target = task.read(value, config)
        except ValueError as error:
            raise UserError(f"{where} {row}: column {config.label!r} (data.label) {str(error)[:200]}") from None
        target = sys.intern(target) if isinstance(target, str) else target
        if isinstance(value, str) and not task.writes_text:
            known[value] = target
        yield target
