"""Tokens with tags in text files as CoNLL's shared tasks have them: a line for each token, an empty line after each sequence."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from seq.config import DataConfig
from seq.data.examples import Examples, make_examples
from seq.data.tables import bounded_lines, codec, open_text
from seq.data.tokenizer import join_tokens
from seq.errors import UserError

UD_COLUMNS = 10
"""Columns of a line of CoNLL-U. Its tokens are in the second, and its tags (parts of speech) in the fourth."""
Line = tuple[int, list[str]]
"""Number and columns."""


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
            numbered = ((number, _split(line)) for number, line in enumerate(bounded_lines(file), 1))
            kept = (line for line in numbered if line[1][:1] != ["-DOCSTART-"])
            width = 0
            for filled, group in groupby(kept, key=lambda line: bool(line[1])):
                lines = list(_without_comments(group, width)) if filled else []
                width = width or (len(lines[0][1]) if lines else 0)
                if lines and (rows := list(_tokens(path, lines, width, config))):
                    yield rows
    except UnicodeError as error:
        raise UserError(f"{path}: is not {config.encoding} ({error}); set data.encoding") from None


def _split(line: str) -> list[str]:
    line = line.strip("\r\n")
    if not line.strip(" \t"):
        return []
    return line.rstrip("\t").split("\t") if "\t" in line.strip() else re.split(r"[ ]+", line.strip(" \t"))


def _without_comments(lines: Iterable[Line], width: int) -> Iterator[Line]:
    """A comment is a line before the first token that begins with `#` and has not as many columns as a token."""
    found, begun = list(lines), False
    width = width or next((len(columns) for _, columns in found if not columns[0].startswith("#")), 0)
    for number, columns in found:
        comment = not begun and columns[0].startswith("#") and (len(columns) != width or width == UD_COLUMNS)
        begun = begun or not comment
        if not comment:
            yield number, columns


def _tokens(path: Path, lines: Sequence[Line], width: int, config: DataConfig) -> Iterator[tuple[str, str]]:
    first, last = (2, 4) if width == UD_COLUMNS else (1, width)
    token, tag = config.token_column or first, config.tag_column or last
    for number, columns in lines:
        if len(columns) != width:
            reason = "a token and no tag" if len(columns) == 1 else f"{len(columns)} columns, others have {width}"
            raise UserError(f"{path}: line {number} has {reason}; a line is: token, other columns if any, tag")
        if max(token, tag) > width or width < 2:
            raise UserError(f"{path}: line {number} has a token and no tag in column {tag}; see data.tag_column")
        if width == UD_COLUMNS and not columns[0].isdigit():  # a word of several tokens (1-2), an empty one (1.1)
            continue
        yield columns[token - 1], columns[tag - 1]
