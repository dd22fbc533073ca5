"""Tokens with tags in text files as CoNLL's shared tasks have them: a line for each token, an empty line after each sequence."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from seq.config import DataConfig
from seq.data.examples import Examples, make_examples
from seq.data.text_files import bounded_lines, codec, faults_of, open_text
from seq.data.tokens import join_tokens
from seq.errors import UserError

UD_COLUMNS = 10
"""Columns of a line of CoNLL-U. Its tokens are in the second, and its tags (parts of speech) in the fourth."""
_ID = re.compile(r"\d+([-.]\d+)?")
"""A line of CoNLL-U begins with this."""


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
        for rows in _sequences(path, codec(config.encoding), config):
            texts.append(join_tokens(token for token, _ in rows))
            tags.append(tuple(tag for _, tag in rows))
    if not texts:
        raise UserError(f"{split}: no token in {', '.join(map(str, paths))}")
    return make_examples(split, texts, tags)


def read_tokens(path: Path, encoding: str, config: DataConfig) -> Iterator[str]:
    """The sequences of a file without their tags, which it need not have."""
    for rows in _sequences(path, encoding, config, tags=False):
        yield join_tokens(token for token, _ in rows)


def _sequences(path: Path, encoding: str, config: DataConfig, *, tags: bool = True) -> Iterator[list[tuple[str, str]]]:
    with faults_of(path, encoding), open_text(path, encoding) as file:
        numbered = (_split(number, line) for number, line in enumerate(bounded_lines(file), 1))
        kept = (line for line in numbered if line.columns[:1] != ["-DOCSTART-"])
        width, universal = 0, False
        for filled, group in groupby(kept, key=lambda line: bool(line.columns)):
            lines = list(_without_comments(group, width)) if filled else []
            if lines and not width:
                width = len(lines[0].columns)
                universal = width == UD_COLUMNS and _ID.fullmatch(lines[0].columns[0]) is not None
            # A word of several tokens (1-2) and an empty one (1.1) are none.
            lines = [line for line in lines if not universal or line.columns[0].isdigit() or len(line.columns) != width]
            if lines:
                yield list(_tokens(path, lines, width, config, universal=universal, tags=tags))


def _split(number: int, line: str) -> Line:
    line = line.strip("\r\n")
    if not line.strip(" \t"):
        return Line(number, [], False)
    if "\t" not in line.strip(" \t"):
        return Line(number, re.split(r"[ ]+", line.strip(" \t")), False)
    cells = [cell.strip(" ") for cell in line.split("\t")]
    while not cells[-1] and len(cells) != UD_COLUMNS:
        cells.pop()
    return Line(number, cells, True)


def _without_comments(lines: Iterable[Line], width: int) -> Iterator[Line]:
    """A comment is a line before the first token that begins with `#` and has not the columns of a token."""
    found, begun = list(lines), False
    tabs = any(line.has_tab for line in found)
    likely = [line for line in found if not line.columns[0].startswith("#")] or [line for line in found if line.has_tab]
    width = width or (len(likely[0].columns) if likely else 0)
    for line in found:
        as_token = len(line.columns) == width != UD_COLUMNS and line.has_tab == tabs
        if begun or not line.columns[0].startswith("#") or as_token:
            begun = True
            yield line


def _tokens(
    path: Path, lines: Sequence[Line], width: int, config: DataConfig, *, universal: bool, tags: bool
) -> Iterator[tuple[str, str]]:
    first, last = (2, 4) if universal else (1, width)
    token, tag = config.token_column or first, config.tag_column or last
    for number, columns, _ in lines:
        if len(columns) != width:
            reason = "a token and no tag" if len(columns) == 1 else f"{len(columns)} columns, others have {width}"
            raise UserError(f"{path}: line {number} has {reason}; a line is: token, other columns if any, tag")
        if token > width or (tags and (tag > width or width < 2)):
            raise UserError(f"{path}: line {number} has a token and no tag in column {tag}; see data.tag_column")
        if tags and not columns[tag - 1]:
            raise UserError(f"{path}: line {number} has an empty tag in column {tag}")
        yield columns[token - 1], columns[tag - 1] if tags else ""
