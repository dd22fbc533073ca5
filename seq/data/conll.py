"""Tokens with tags in text files as CoNLL's shared tasks have them: a line for each token, an empty line after each sequence."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from seq.data.examples import Examples, make_examples
from seq.errors import UserError


def read_conll(split: str, paths: Sequence[Path], encoding: str) -> Examples:
    """The sequences of `paths`. A line's first column is the token and its last one the tag, with white space between columns.
    Lines that begin with `-DOCSTART-` are left out. UserError for a line of one column."""
    texts, tags = list[str](), list[tuple[str, ...]]()
    for path in paths:
        for rows in _sequences(path, encoding):
            texts.append(" ".join(token for token, _ in rows))
            tags.append(tuple(tag for _, tag in rows))
    if not texts:
        raise UserError(f"{split}: no token in {', '.join(map(str, paths))}")
    return make_examples(split, texts, tags)


def _sequences(path: Path, encoding: str) -> Iterator[list[tuple[str, str]]]:
    with path.open(encoding=encoding) as file:
        numbered = ((number, line.split()) for number, line in enumerate(file, 1))
        kept = ((number, columns) for number, columns in numbered if columns[:1] != ["-DOCSTART-"])
        for filled, lines in groupby(kept, key=lambda line: bool(line[1])):
            if filled:
                yield list(_tokens(path, lines))


def _tokens(path: Path, lines: Iterable[tuple[int, list[str]]]) -> Iterator[tuple[str, str]]:
    for number, columns in lines:
        if len(columns) < 2:
            raise UserError(
                f"{path}: line {number} has a token and no tag; a line is: token, other columns if any, tag"
            )
        yield columns[0], columns[-1]
