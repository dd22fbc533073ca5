"""Prepared once, mapped, and checked to the last bit."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from seq.data import corpus as corpus_module
from seq.data.corpus import prepare_corpus
from seq.errors import RunError, UserError
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
        patched.setattr("seq.data.prepare.load_splits", lambda *_, **__: pytest.fail("prepared twice"))
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


def test_a_large_corpus_is_verified_in_the_background(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flipped bit ends the run before a checkpoint is written, and the next start prepares the data anew."""
    monkeypatch.setattr(corpus_module, "VERIFIED_AT_ONCE", 0)
    keys = {"source": "csv", "files": {"train": str(write_rows(tmp_path, "csv"))}, "text": "name", "label": "origin"}
    config = data(**keys, cache_dir=str(tmp_path / "cache"))
    first = prepare_corpus(config, task=TASKS["classification"])
    first.check()
    (values,) = (tmp_path / "cache").glob("*/train.values.npy")
    content = bytearray(values.read_bytes())
    content[-1] ^= 1
    values.write_bytes(content)
    with pytest.raises(RunError, match="the prepared data are damaged on the disk; started again"):
        prepare_corpus(config, task=TASKS["classification"]).check()
    again = prepare_corpus(config, task=TASKS["classification"])
    again.check()
    assert again.fingerprint == first.fingerprint


def test_a_source_is_read_once_for_its_digest_and_never_trusted_by_its_time(tmp_path: Path) -> None:
    """Other rows of the same size, with the old time of the last change, as `cp -p` and `tar` give it."""
    path, cache = tmp_path / "rows.csv", tmp_path / "cache"
    config = data(source="csv", files={"train": str(path)}, cache_dir=str(cache), validation_fraction=0.0)
    rows = {}
    for label in ("aa", "bb"):
        path.write_text(f"text,label\none,{label}\ntwo,{label}\n")
        os.utime(path, (1e9, 1e9))
        rows[label] = prepare_corpus(config, task=TASKS["classification"]).labels
    assert rows == {"aa": ("aa",), "bb": ("bb",)}
    assert len(list(cache.glob("*.digest"))) == 1


def test_a_full_disk_is_said_before_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    config = data(source="csv", files={"train": str(write_rows(tmp_path, "csv"))}, text="name", label="origin")
    with pytest.raises(UserError, match=r"data\.cache_dir: preparing 0 MB needs about .* which has 0 MB; make room"):
        prepare_corpus(config, task=TASKS["classification"])
