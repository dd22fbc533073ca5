"""Rows without text, and validation rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seq.data.corpus import prepare_corpus
from seq.data.examples import make_examples, split_validation
from seq.errors import UserError
from seq.tasks import TASKS
from tests.corpora import ROWS, data, texts, write_rows


def test_validation_rows_are_cut_by_hash_and_no_label_is_lost(tmp_path: Path) -> None:
    rows = [(f"name{number}", f"label{number % 40}") for number in range(200)] + [("only", "rare")]
    keys = {
        "source": "csv",
        "files": {"train": str(write_rows(tmp_path, "csv", rows))},
        "text": "name",
        "label": "origin",
    }
    corpus = prepare_corpus(data(**keys, validation_fraction=0.6), task=TASKS["classification"])
    train, validation = (set(texts(corpus, split)) for split in ("train", "validation"))
    assert not train & validation
    assert len(train | validation) == 201
    assert 80 < len(validation) < 150
    labels = corpus.splits["train"].targets
    assert isinstance(labels, np.ndarray)
    assert len(set(labels.tolist())) == len(corpus.labels) == 41


@given(st.lists(st.sets(st.sampled_from("abcdefgh")), min_size=2, max_size=40), st.floats(0.1, 0.9))
def test_training_keeps_a_row_with_each_label(labels: list[set[str]], fraction: float) -> None:
    """Of rows with any number of labels, or with tags."""
    whole = make_examples("train", [f"text {row}" for row in range(len(labels))], list(map(tuple, map(sorted, labels))))
    notes: list[str] = []
    parts = split_validation(whole, data(validation_fraction=fraction), sorted, notes)
    assert bool(parts) != bool(notes), "no validation split is said"
    if parts:
        assert sorted([*parts["train"].rows, *parts["validation"].rows]) == whole.rows.tolist()
        assert set().union(*parts["train"].targets or ()) == set().union(*labels)


@given(
    st.lists(
        st.tuples(st.sampled_from([f"t{n}" for n in range(30)]), st.sampled_from("abcd")), min_size=1, max_size=90
    ),
    st.floats(0.05, 0.6),
)
def test_honest_splits(rows: list[tuple[str, str]], fraction: float) -> None:
    """No text is in both splits, and the whole share is about what was asked for, whatever the number of rows for each label."""
    whole = make_examples("train", [text for text, _ in rows], [label for _, label in rows])
    parts = split_validation(whole, data(validation_fraction=fraction), lambda label: [label], [])
    if not parts:
        return
    train, validation = parts["train"], parts["validation"]
    assert sorted([*train.rows, *validation.rows]) == whole.rows.tolist()
    assert not set(train.texts) & set(validation.texts)
    assert set(train.targets or ()) == {label for _, label in rows}


def test_few_rows_for_each_label() -> None:
    """Sixty labels of four rows each: a tenth is no row of any label, and yet 24 rows of all."""
    whole = make_examples("train", [f"text {n}" for n in range(240)], [f"L{n // 4}" for n in range(240)])
    parts = split_validation(whole, data(validation_fraction=0.1), lambda label: [label], [])
    assert len(parts["validation"].rows) == 24
    assert len(set(parts["validation"].targets or ())) == 24


def test_row_numbers_are_those_of_the_source(tmp_path: Path) -> None:
    rows = [("", "a"), ("Ab", "b"), ("Abcdefg", "a"), ("", "a"), ("C", "b")]
    keys = {
        "source": "csv",
        "files": {"train": str(write_rows(tmp_path, "csv", rows))},
        "text": "name",
        "label": "origin",
    }
    with pytest.raises(UserError, match="train row 3: 7 tokens"):
        prepare_corpus(data(**keys, empty="drop", max_length=5), task=TASKS["classification"])


def test_empty_rows(tmp_path: Path) -> None:
    path = str(write_rows(tmp_path, "csv", [("", "r"), ("Sloan", "i"), ("  ", "r")]))
    keys = {"source": "csv", "files": {"train": path, "validation": path}, "text": "name", "label": "origin"}
    with pytest.raises(UserError, match=r"train row 1: the text is empty \(2 such rows\); data\.empty=drop"):
        prepare_corpus(data(**keys), task=TASKS["classification"])
    corpus = prepare_corpus(data(**keys, empty="drop"), task=TASKS["classification"])
    assert texts(corpus, "train") == ["Sloan"]
    assert corpus.notes[0] == "train: 2 rows without text dropped (data.empty=drop)"


def test_a_single_row_is_not_validated_on(tmp_path: Path) -> None:
    path = write_rows(tmp_path, "csv", [("Sloan", "Irish")])
    corpus = prepare_corpus(
        data(source="csv", files={"train": str(path)}, text="name", label="origin"), task=TASKS["classification"]
    )
    assert texts(corpus, "train") == ["Sloan"]
    assert set(corpus.splits) == {"train"}
    assert "validation: none" in corpus.notes[0]


def test_validation_rows_are_the_same_share_of_each_label(tmp_path: Path) -> None:
    rows = [(f"name{number}", "many" if number % 10 else "few") for number in range(2000)]
    path = str(write_rows(tmp_path, "csv", rows))
    keys = {"source": "csv", "files": {"train": path}, "text": "name", "label": "origin"}
    cases: tuple[tuple[dict[str, Any], list[int] | None], ...] = (
        ({}, [20, 180]),
        ({"validation_rows": 50}, [5, 45]),
        ({"validation_fraction": 0}, None),
    )
    for more, expected in cases:
        splits = prepare_corpus(data(**keys, **more), task=TASKS["classification"]).splits
        if expected is None:
            assert list(splits) == ["train"]
            assert len(splits["train"]) == 2000
        else:
            labels = splits["validation"].targets
            assert isinstance(labels, np.ndarray)
            assert np.bincount(labels).tolist() == expected


def test_training_on_the_validation_rows(tmp_path: Path) -> None:
    files = {name: str(write_rows(tmp_path, "csv", name=name)) for name in ("train", "validation")}
    keys = {"source": "csv", "files": files, "text": "name", "label": "origin"}
    corpus = prepare_corpus(data(**keys, train_on_validation=True), task=TASKS["classification"])
    assert list(corpus.splits) == ["train"]
    assert texts(corpus, "train") == [name for name, _ in ROWS] * 2
