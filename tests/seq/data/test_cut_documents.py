"""Sequences that are too long, unknown labels, and validation on pieces of a text."""

from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seq.data import cut
from seq.data.corpus import prepare_corpus
from seq.data.cut import Unit, cut_pieces, frame
from seq.data.ragged import RaggedArray
from seq.data.tokenizer import Tokenizer
from seq.errors import UserError
from seq.tasks import TASKS
from tests.corpora import data, texts, write_rows


def test_one_long_document_does_not_validate_on_itself(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("".join(chr(ord("a") + n % 26) for n in range(1000)))
    keys = {"source": "text", "files": {"train": str(tmp_path / "a.txt")}, "unit": "chunk", "max_length": 10}
    corpus = prepare_corpus(data(**keys), task=TASKS["language_modeling"])
    counts = {name: int(split.lengths.sum()) for name, split in corpus.splits.items()}
    assert counts == {"train": 901, "validation": 100}


@pytest.mark.parametrize(
    ("policy", "kept", "note"),
    [
        ("drop", ["Harb", "Sloan"], "2 sequences over 5 tokens: drop"),
        ("truncate", ["Adylo", "Boris", "Harb", "Sloan"], "truncate"),
    ],
)
def test_too_long(tmp_path: Path, policy: str, kept: list[str], note: str) -> None:
    rows = [("Adylov", "r"), ("Sloan", "i"), ("Borisov", "r"), ("Harb", "i")]
    path = str(write_rows(tmp_path, "csv", rows))
    keys = {"source": "csv", "files": {"train": path, "validation": path}, "text": "name", "label": "origin"}
    with pytest.raises(UserError, match=r"train row 1: 6 tokens, more than data\.max_length=5 \(2 such rows"):
        prepare_corpus(data(**keys, max_length=5), task=TASKS["classification"])
    corpus = prepare_corpus(data(**keys, max_length=5, too_long=policy), task=TASKS["classification"])
    assert sorted(texts(corpus, "train")) == kept
    assert any(note in found for found in corpus.notes)


def test_label_unseen_in_training(tmp_path: Path) -> None:
    train, test = write_rows(tmp_path, "csv"), write_rows(tmp_path, "csv", [("A", "Irish"), ("B", "Martian")], "test")
    keys = {"source": "csv", "files": {"train": str(train), "test": str(test)}, "text": "name", "label": "origin"}
    with pytest.raises(UserError, match="test row 2: label 'Martian' does not occur in the training data"):
        prepare_corpus(data(**keys), task=TASKS["classification"])


@given(
    st.lists(st.text("ab\n ", min_size=1, max_size=60), min_size=1, max_size=4),
    st.sampled_from(["line", "paragraph", "document", "chunk"]),
    st.floats(0.05, 0.9),
    st.integers(1, 6),
)
def test_pieces_hold_every_target_once_after_the_one_before(
    documents: list[str], unit: Unit, fraction: float, count: int
) -> None:
    """Also in very small pieces, which `SMALL_PIECE` keeps from real texts."""
    tokenizer = Tokenizer.train("characters", ["ab\n "], lowercase=False, min_count=1)
    whole = frame(tokenizer.encode(documents))
    numbered = RaggedArray(np.arange(len(whole.values)), whole.offsets)  # so that each target is another one
    config = data(unit=unit, validation_fraction=fraction, validation_pieces=count)
    with patch.object(cut, "SMALL_PIECE", 1), patch.object(cut, "_at_units", lambda bounds, *_: bounds):
        parts = cut_pieces(numbered, config, -1, [])
    targets = []
    for sequences in parts.values():
        for start, stop in pairwise(sequences.offsets.tolist()):
            tokens = sequences.values[start:stop].tolist()
            assert len(tokens) >= 2
            assert tokens == list(range(tokens[0], tokens[-1] + 1))
            targets += tokens[1:]
    firsts = set(whole.offsets[:-1].tolist())
    assert sorted(targets) == [place for place in range(len(whole.values)) if place not in firsts]


def test_pieces_are_spread_over_the_text_and_are_whole_units(tmp_path: Path) -> None:
    text = "".join(f"{number} bottles of beer on the wall, {number} bottles of beer.\n\n" for number in range(4000))
    (tmp_path / "a.txt").write_text(text)
    keys: dict[str, Any] = {"source": "text", "files": {"train": str(tmp_path / "a.txt")}, "unit": "document"}
    corpus = prepare_corpus(data(**keys, validation_pieces=4), task=TASKS["language_modeling"])
    pieces = texts(corpus, "validation")
    assert len(pieces) == 4
    assert 0.08 * len(text) < sum(map(len, pieces)) < 0.12 * len(text)
    starts = [text.index(piece.lstrip("\n")) / len(text) for piece in pieces]
    assert starts == pytest.approx([0.225, 0.475, 0.725, 0.975], abs=0.01)
    assert all(piece.endswith("beer.\n\n") for piece in pieces)
    small = prepare_corpus(data(**keys, validation_tokens=5000), task=TASKS["language_modeling"])
    assert 4000 < sum(map(len, texts(small, "validation"))) < 6000
    assert (
        "validation" not in prepare_corpus(data(**keys, validation_fraction=0), task=TASKS["language_modeling"]).splits
    )


@pytest.mark.parametrize(
    ("unit", "more", "whole"),
    [
        ("line", {}, False),
        ("paragraph", {}, False),
        ("chunk", {}, False),
        ("document", {}, True),
        ("document", {"too_long": "split"}, False),
    ],
)
def test_a_text_is_validated_in_the_pieces_in_which_it_trains(
    unit: str, more: dict[str, str], whole: bool, tmp_path: Path
) -> None:
    """So that the state begins where it begins in training, and each target comes once."""
    text = "".join(f"{number} bottles of beer\n" + "\n" * (number % 3 == 0) for number in range(60))
    (tmp_path / "a.txt").write_text(text)
    files = {name: str(tmp_path / "a.txt") for name in ("train", "validation")}
    keys: dict[str, Any] = {"source": "text", "files": files, "unit": unit, "max_length": 30} | more
    corpus = prepare_corpus(data(**keys), task=TASKS["language_modeling"])
    assert data(**keys).reads_whole_documents == whole
    train, validation = (corpus.splits[name] for name in ("train", "validation"))
    assert np.array_equal(train.sequences.values, validation.sequences.values)
    assert np.array_equal(train.sequences.offsets, validation.sequences.offsets)
    assert validation.num_characters == len(text)
    assert (len(validation) == 1) == whole


def test_unknown_characters_pay_for_what_they_are(tmp_path: Path) -> None:
    """log2 of the different unknown characters of the text, for each; none where all are known, or spelled in bytes."""
    (tmp_path / "train.txt").write_text("aabb" * 50)
    (tmp_path / "test.txt").write_text("abxyxz" * 10)
    files = {name: str(tmp_path / f"{name}.txt") for name in ("train", "test")}
    keys: dict[str, Any] = {"source": "text", "files": files, "unit": "document", "validation_fraction": 0}
    splits = prepare_corpus(data(**keys), task=TASKS["language_modeling"]).splits
    assert splits["train"].unknown_bits == 0
    assert splits["test"].unknown_bits == pytest.approx(40 * np.log2(3))
    assert (
        prepare_corpus(data(**keys, tokenizer="bytes"), task=TASKS["language_modeling"]).splits["test"].unknown_bits
        == 0
    )
    test_alone = keys | {"files": {"test": str(tmp_path / "test.txt")}}
    like = prepare_corpus(data(**keys), task=TASKS["language_modeling"])
    evaluated = prepare_corpus(data(**test_alone), task=TASKS["language_modeling"], like=like, fixed_outputs=True)
    assert evaluated.splits["test"].unknown_bits == splits["test"].unknown_bits
    lower = prepare_corpus(data(**keys, lowercase=True), task=TASKS["language_modeling"])
    assert any("lower case" in note for note in lower.notes)
