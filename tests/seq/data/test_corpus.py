"""Prepared once, mapped, and checked to the last bit."""

from pathlib import Path

import numpy as np
import pytest

from seq.data.corpus import prepare_corpus
from seq.errors import UserError
from seq.tasks import TASKS
from tests.corpora import ROWS, data, texts, write_rows


def test_a_damaged_cache_is_made_anew(tmp_path: Path) -> None:
    keys = {"source": "csv", "files": {"train": str(write_rows(tmp_path, "csv"))}, "text": "name", "label": "origin"}
    config = data(**keys, cache_dir=str(tmp_path / "cache"))
    first = prepare_corpus(config, task=TASKS["classification"])
    (about,) = (tmp_path / "cache").glob("*/corpus.json")
    about.write_text("{")
    assert prepare_corpus(config, task=TASKS["classification"]).fingerprint == first.fingerprint
    with pytest.raises(UserError):
        prepare_corpus(data(**keys, cache_dir=str(tmp_path / "cache"), max_length=2), task=TASKS["classification"])
    assert not list((tmp_path / "cache").glob("*.part-*"))


def test_prepared_once_and_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_rows(tmp_path, "csv")
    config = data(source="csv", files={"train": str(path)}, text="name", label="origin")
    first = prepare_corpus(config, task=TASKS["classification"])
    with monkeypatch.context() as patched:
        patched.setattr("seq.data.corpus.load_splits", lambda *_, **__: pytest.fail("prepared twice"))
        again = prepare_corpus(config, task=TASKS["classification"])
    assert isinstance(again.splits["train"].sequences.values.base, np.memmap)
    assert again.fingerprint == first.fingerprint
    write_rows(tmp_path, "csv", ROWS[1:])
    assert prepare_corpus(config, task=TASKS["classification"]).fingerprint != first.fingerprint


def test_a_trained_vocabulary_can_be_given(tmp_path: Path) -> None:
    config = data(source="csv", files={"train": str(write_rows(tmp_path, "csv"))}, text="name", label="origin")
    first = prepare_corpus(config, task=TASKS["classification"])
    other = data(
        source="csv",
        files={"train": str(write_rows(tmp_path, "csv", [("Aqoy", "Irish")], "b"))},
        text="name",
        label="origin",
    )
    corpus = prepare_corpus(other, task=TASKS["classification"], like=first, fixed_outputs=True)
    assert (corpus.labels, corpus.tokenizer) == (first.labels, first.tokenizer)
    assert texts(corpus, "train")[0] == "A\ufffdoy"


def test_bits_are_counted_over_characters_not_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("über Größe", encoding="utf-8")
    keys = {"source": "text", "files": {"train": str(path), "validation": str(path)}}
    for tokenizer, targets in (("characters", 11), ("bytes", 14)):
        split = prepare_corpus(data(**keys, tokenizer=tokenizer), task=TASKS["language_modeling"]).splits["train"]
        assert (int(split.lengths.sum()), split.num_characters) == (targets, 10)
