"""Tokens with tags in text files as CoNLL's shared tasks have them: a line for each token, an empty line after each sequence."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from seq.config import DataConfig
from seq.data.examples import Examples, make_examples
from seq.data.tables import bounded_lines, codec, open_text
from seq.data.tokenizer import join_tokens
from seq.errors import UserError

UD_COLUMNS = 10
"""Columns of a line of CoNLL-U. Its tokens are in the second, and its tags (parts of speech) in the fourth."""


class Line(NamedTuple):
    number: int
    columns: list[str]
    has_tab: bool


def read_conll(split: str, paths: Sequence[Path], config: DataConfig) -> Examples:
    """The sequences of `paths`. Tokens and tags are in the columns `data.token_column` and `data.tag_column`; without these, in the first
    and the last one, or those of CoNLL-U. Columns are divided by tabs where a line has one, else by blanks. Comments and
    lines that begin with `-DOCSTART-` are left out. UserError for lines of uneven width, and for one without a tag."""
    texts, tags = list[str](), list[tuple[str, ...]]()
    for path in paths:
        for rows in _sequences(path, config):
            texts.append(join_tokens(token for token, _ in rows))
            tags.append(tuple(tag for _, tag in rows))
    if not texts:
        raise UserError(f"{split}: no token in {', '.join(map(str, paths))}")
    return make_examples(split, texts, tags)


def _sequences(path: Path, config: DataConfig) -> Iterator[list[tuple[str, str]]]:
    try:
        with open_text(path, codec(config.encoding)) as file:
            numbered = (_split(number, line) for number, line in enumerate(bounded_lines(file), 1))
            kept = (line for line in numbered if line.columns[:1] != ["-DOCSTART-"])
            width = 0
            for filled, group in groupby(kept, key=lambda line: bool(line.columns)):
                lines = list(_without_comments(group, width)) if filled else []
                width = width or (len(lines[0].columns) if lines else 0)
                if lines and (rows := list(_tokens(path, lines, width, config))):
                    yield rows
    except UnicodeError as error:
        raise UserError(f"{path}: is not {config.encoding} ({error}); set data.encoding") from None


def _split(number: int, line: str) -> Line:
    line = line.strip("\r\n")
    if not line.strip(" \t"):
        return Line(number, [], False)
    if "\t" in line.strip():
        return Line(number, line.rstrip("\t").split("\t"), True)
    return Line(number, re.split(r"[ ]+", line.strip(" \t")), False)


def _without_comments(lines: Iterable[Line], width: int) -> Iterator[Line]:
    """A comment is a line before the first token that begins with `#` and has not the columns of a token."""
    found, begun = list(lines), False
    tabs = any(line.has_tab for line in found)
    width = width or next((len(line.columns) for line in found if not line.columns[0].startswith("#")), 0)
    for line in found:
        as_token = len(line.columns) == width != UD_COLUMNS and line.has_tab == tabs
        if begun or not line.columns[0].startswith("#") or as_token:
            begun = True
            yield line


def _tokens(path: Path, lines: Sequence[Line], width: int, config: DataConfig) -> Iterator[tuple[str, str]]:
    first, last = (2, 4) if width == UD_COLUMNS else (1, width)
    token, tag = config.token_column or first, config.tag_column or last
    for number, columns, _ in lines:
        if len(columns) != width:
            reason = "a token and no tag" if len(columns) == 1 else f"{len(columns)} columns, others have {width}"
            raise UserError(f"{path}: line {number} has {reason}; a line is: token, other columns if any, tag")
        if max(token, tag) > width or width < 2:
            raise UserError(f"{path}: line {number} has a token and no tag in column {tag}; see data.tag_column")
        if width == UD_COLUMNS and not columns[0].isdigit():  # a word of several tokens (1-2), an empty one (1.1)
            continue
        yield columns[token - 1], columns[tag - 1]
