"""Prepared once, mapped, and checked to the last bit."""

import json
from pathlib import Path

import numpy as np
import pandas
import pytest

from seq.config import Config, DataConfig
from seq.config.read import parse_config
from seq.data.corpus import Corpus, prepare_corpus
from seq.errors import UserError

ROWS = [
    ("Adylov", "Russian"),
    ("Sloan", "Irish"),
    ("NA", "Irish"),
    ("null", "Russian"),
    ("007", "Irish"),
    ("Harb", "Russian"),
]


def data(**keys: object) -> DataConfig:
    config: Config = parse_config({"data": keys, "model": {"kind": "language_model"}}, where="test")
    return config.data


def write_rows(folder: Path, kind: str, rows: list[tuple[str, str]] = ROWS, name: str = "train") -> Path:
    path = folder / f"{name}.{kind}"
    table = pandas.DataFrame(rows, columns=["name", "origin"])
    if kind == "csv":
        table.to_csv(path, index=False)
    elif kind == "json":
        path.write_text("\n".join(json.dumps({"name": name, "origin": origin}) for name, origin in rows))
    else:
        table.to_parquet(path)
    return path


def texts(corpus: Corpus, split: str) -> list[str]:
    array = corpus.splits[split].sequences
    bounds = zip(array.offsets[:-1], array.offsets[1:], strict=True)
    return [corpus.tokenizer.decode(array.values[start:stop].tolist()) for start, stop in bounds]


def test_a_damaged_cache_is_made_anew(tmp_path: Path) -> None:
    keys = {"source": "csv", "files": {"train": str(write_rows(tmp_path, "csv"))}, "text": "name", "label": "origin"}
    config = data(**keys, cache_dir=str(tmp_path / "cache"))
    first = prepare_corpus(config, task="classify")
    (about,) = (tmp_path / "cache").glob("*/corpus.json")
    about.write_text("{")
    assert prepare_corpus(config, task="classify").fingerprint == first.fingerprint
    with pytest.raises(UserError):
        prepare_corpus(data(**keys, cache_dir=str(tmp_path / "cache"), max_length=2), task="classify")
    assert not list((tmp_path / "cache").glob("*.part-*"))


def test_prepared_once_and_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_rows(tmp_path, "csv")
    config = data(source="csv", files={"train": str(path)}, text="name", label="origin")
    first = prepare_corpus(config, task="classify")
    with monkeypatch.context() as patched:
        patched.setattr("seq.data.corpus.load_splits", lambda *_, **__: pytest.fail("prepared twice"))
        again = prepare_corpus(config, task="classify")
    assert isinstance(again.splits["train"].sequences.values.base, np.memmap)
    assert again.fingerprint == first.fingerprint
    write_rows(tmp_path, "csv", ROWS[1:])
    assert prepare_corpus(config, task="classify").fingerprint != first.fingerprint


def test_a_trained_vocabulary_can_be_given(tmp_path: Path) -> None:
    config = data(source="csv", files={"train": str(write_rows(tmp_path, "csv"))}, text="name", label="origin")
    first = prepare_corpus(config, task="classify")
    other = data(
        source="csv",
        files={"train": str(write_rows(tmp_path, "csv", [("Aqoy", "Irish")], "b"))},
        text="name",
        label="origin",
    )
    corpus = prepare_corpus(other, task="classify", like=first, fixed_labels=True)
    assert (corpus.labels, corpus.tokenizer) == (first.labels, first.tokenizer)
    assert texts(corpus, "train")[0] == "A\ufffdoy"


def test_bits_are_counted_over_characters_not_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("über Größe", encoding="utf-8")
    keys = {"source": "text", "files": {"train": str(path), "validation": str(path)}}
    for tokenizer, targets in (("characters", 11), ("bytes", 14)):
        split = prepare_corpus(data(**keys, tokenizer=tokenizer), task="write").splits["train"]
        assert (int(split.lengths.sum()), split.num_characters) == (targets, 10)
