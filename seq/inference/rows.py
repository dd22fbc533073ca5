"""Rows of texts in, rows of answers out: what `seq.predict` reads and prints.

Texts come from the command line, from a file or from stdin, and are read as they are needed. Answers keep their order.
"""

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from seq.config import DataConfig
from seq.data.conll import read_tokens
from seq.data.examples import SEPARATOR, join_columns
from seq.data.tables import Form, check_columns, note_on_quotes, read_table
from seq.data.text_files import codec, kind_of, open_text
from seq.data.tokenizer import refuse_list_as_text
from seq.data.tokens import join_tokens
from seq.errors import UserError, warn
from seq.tasks import TrainedModel
from seq.tasks.task import Answer, Answers
from seq.terminal import printable

ROWS = 256
"""Texts of a file or of a command line that go through the model together."""
LETTERS = 64
"""Characters that a token may have, for `_most_characters`."""


@dataclass(frozen=True)
class Row:
    """A text, and the values that are printed beside its answer: the columns of a file, or the text itself."""

    number: int
    text: str
    cells: dict[str, Any]


def print_answers(
    trained: TrainedModel,
    words: Sequence[str],
    options: argparse.Namespace,
    answers: Answers,
) -> None:
    """Print the answer for each text. `answers` gets only texts that have one: a text of the command line that is empty, or longer
    than `answers.longest` tokens, is a UserError; a row of a file or stdin gets a warning, and no answer."""
    rows, size = (
        _read(trained, words, options, _most_characters(trained, answers)),
        ROWS if words or options.file else 1,
    )
    write = _writer(options, answers.fields, trained.config.data.label_separator)
    some, answered = False, False
    while batch := list(islice(rows, size)):
        refused = {row.number: why for row in batch if (why := _why_not(trained, row.text, answers.longest))}
        for number, reason in refused.items():
            if words:
                raise UserError(f"text {number}: {reason}")
            warn(f"row {number}: {reason}; it has no answer")
        found = iter(answers.answer([row.text for row in batch if row.number not in refused]))
        for row in batch:
            write(row, None if row.number in refused else next(found))
        some, answered = True, answered or len(refused) < len(batch)
    if some and not answered:
        raise UserError("no row has an answer; the warnings say why")


def _why_not(trained: TrainedModel, text: str, longest: int | None) -> str | None:
    if not text.replace(SEPARATOR, "").strip():
        return "the text is empty"
    columns, parts = trained.config.data.text_columns, text.count(SEPARATOR) + 1
    if parts != len(columns):
        given = f"{parts} column{'s' * (parts > 1)}, not the {len(columns)} of the model ({', '.join(columns)})"
        return f"the text has {given}; write a tab between two, in bash $'one\\ttwo', or use --file"
    if longest is None or len(trained.tokenizer.encode([text]).values) <= longest:
        return None
    return f"{text[:60]!r} has more than data.max_length={longest} tokens"


def _read(
    trained: TrainedModel, words: Sequence[str], options: argparse.Namespace, most_characters: int
) -> Iterator[Row]:
    for word in words:
        if kind_of(Path(word)) and Path(word).is_file():
            raise UserError(f"{word} is a file, not a text; read it with --file {word}")
    if words and options.file:
        raise UserError("texts are given and --file too; give one of them")
    if options.column and not (options.file and kind_of(options.file) in ("csv", "json", "parquet")):
        raise UserError("--column names columns of a --file that ends with .csv, .tsv, .json, .jsonl or .parquet")
    if options.file:
        columns, form = _columns(options.column, trained.config.data.text_columns), _form(trained, options)
        return rows_of_file(trained, options.file.expanduser(), columns, most_characters, form)
    sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]
    return _rows_of_lines(trained, words or read_lines(sys.stdin, most_characters))


def _columns(given: str | None, trained_on: tuple[str, ...]) -> tuple[str, ...]:
    """Those of --column. A comma belongs to the name of a single column."""
    if given is None:
        return trained_on
    columns = tuple(given.strip("[]").split(",")) if len(trained_on) > 1 else (given,)
    if len(columns) != len(trained_on):
        raise UserError(
            f"--column {given}: the model reads {len(trained_on)} columns; write --column {','.join(trained_on)}"
        )
    return trained_on if {*columns} == {*trained_on} else columns  # in the order of the training


def _form(trained: TrainedModel, options: argparse.Namespace) -> Form:
    form = Form.of(trained.config.data)
    if options.delimiter is not None:
        delimiter = "\t" if options.delimiter == "\\t" else options.delimiter
        if len(delimiter) != 1:
            raise UserError(f"--delimiter {options.delimiter!r}: must be one character (\\t: a tab)")
        form = replace(form, delimiter=delimiter)
    if options.encoding is not None:
        try:
            form = replace(form, encoding=codec(options.encoding))
        except LookupError:
            raise UserError(f"--encoding {options.encoding}: Python knows no such encoding") from None
    return form


def _rows_of_lines(trained: TrainedModel, lines: Iterable[str]) -> Iterator[Row]:
    """With several text columns, a tab separates them."""
    several = len(trained.config.data.text_columns) > 1
    for number, line in enumerate(lines, 1):
        yield Row(number, join_columns(line.split("\t")) if several else line, {"text": line})


def rows_of_file(
    trained: TrainedModel,
    path: Path,
    columns: Sequence[str],
    most_characters: int = sys.maxsize - 1,
    form: Form | None = None,
) -> Iterator[Row]:
    """Read as the training data were, with their encoding and delimiter, or in the given `form`."""
    form, tokens = form or Form.of(trained.config.data), trained.task.reads_tokens
    kind = _kind(path, trained.config.data)
    try:
        if kind == "text" and tokens and path.suffix.lower() in (".conll", ".conllu"):
            for number, text in enumerate(read_tokens(path, form.encoding, trained.config.data), 1):
                yield Row(number, text, {"text": text})
            return
        if kind == "text":
            with open_text(path, form.encoding, newline=None) as file:
                yield from _rows_of_lines(trained, read_lines(file, most_characters))
            return
        rows = 0
        for batch in read_table(path, kind, form):
            check_columns(path, list(batch.columns), dict.fromkeys(columns, "--column"), form)
            for number, cells in batch.rows():
                texts = [_text(f"{path} row {number}", cells[name], tokens) for name in columns]
                yield Row(number, join_columns(texts), cells)
            rows += len(batch)
        if kind == "csv" and (note := note_on_quotes(path, form, rows)):
            warn(note)
    except OSError as error:
        raise UserError(f"--file {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UserError(
            f"--file {path}: is not {trained.config.data.encoding}, the encoding of the training data; give --encoding"
        ) from None


def _kind(path: Path, config: DataConfig) -> str:
    """That of the training file if it has the same suffix, else the one that the suffix says."""
    trained_on = Path(config.files.train or "")
    if trained_on.suffix == path.suffix and config.source in ("csv", "json", "parquet"):
        return config.source
    return kind_of(path) or "text"


def _text(where: str, value: Any, tokens: bool) -> str:
    """A list is tokens, as a tagger reads them; null is an empty text."""
    if tokens and isinstance(value, str):
        try:
            refuse_list_as_text(value, "blanks between the tokens")
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(token, str) for token in value):
        return join_tokens(value)
    if isinstance(value, list | dict | bytes):
        raise UserError(f"{where}: holds {str(value)[:60]!r}, not text")
    return str(value)


def _most_characters(trained: TrainedModel, answers: Answers) -> int:
    """Return how many characters of a line are read. A longer line almost certainly has more than `data.max_length` tokens."""
    if answers.in_pieces:
        return sys.maxsize - 1
    one = trained.tokenizer.kind in ("characters", "bytes")
    return trained.config.data.max_length * (1 if one else LETTERS)


def read_lines(file: TextIO, max_length: int) -> Iterator[str]:
    """Lines without their ends. Only the beginning of a line longer than `max_length` characters is kept in memory."""
    while line := file.readline(max_length + 1):
        whole = line
        while whole and not whole.endswith("\n"):
            whole = file.readline(2**16)
        yield line.rstrip("\r\n")


def harmless(cell: Any) -> Any:
    """For CSV: put an apostrophe before a text that begins like a formula. A spreadsheet would run it, and labels and texts may come
    from untrusted sources. Numbers stay unchanged."""
    if isinstance(cell, str):
        cell = printable(cell)
    if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        try:
            float(cell)
        except ValueError:
            return f"'{cell}"
    return cell


def _writer(options: argparse.Namespace, fields: Sequence[str], separator: str) -> Callable[[Row, Answer | None], None]:
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    table, columns = csv.writer(sys.stdout, lineterminator="\n"), list[str]()

    def write_csv(row: Row, answer: Answer | None) -> None:
        if row.number == 1:
            columns.extend(row.cells)
            table.writerow([harmless(name) for name in (*columns, *fields)])
        if new := set(row.cells) - set(columns):
            raise UserError(f"row {row.number}: {new.pop()!r} is no column of the first row; use --json")
        values = answer.values if answer else [""] * len(fields)
        joined = (separator.join(map(str, value)) if isinstance(value, list) else value for value in values)
        table.writerow([harmless(cell) for cell in (*(row.cells.get(name, "") for name in columns), *joined)])
        sys.stdout.flush()

    def write_json(row: Row, answer: Answer | None) -> None:
        values = answer.values if answer else [None] * len(fields)
        print(
            printable(json.dumps(row.cells | dict(zip(fields, values, strict=True)), ensure_ascii=False, default=str)),
            flush=True,
        )

    def write_text(row: Row, answer: Answer | None) -> None:
        print(printable(answer.shown if answer else row.text.replace(SEPARATOR, "\t")), flush=True)

    def write(row: Row, answer: Answer | None) -> None:
        if taken := set(row.cells) & set(fields):
            raise UserError(f"the file already has a column {taken.pop()!r}; rename it")
        way(row, answer)

    way = write_csv if options.csv else write_json if options.json else write_text
    return write_text if way is write_text else write
