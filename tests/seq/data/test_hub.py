"""Data sets of the hub: the library reads local files here, in the way in which it reads those that it downloads."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets import ClassLabel, Dataset, Features, Sequence, Value

from seq.data.corpus import Corpus, prepare_corpus
from seq.errors import UserError
from seq.tasks import TASKS
from tests.corpora import data, texts

ROWS = [("great", 1), ("bad", 0), ("so so", 1), ("\u00e9t\u00e9", 1), ("worse", 0), ("best", 1), ("terrible", 0)]
Prepare = Callable[..., Corpus]


@pytest.fixture(params=[False, True], ids=["downloaded", "streamed"])
def prepare(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    """Prepares a set with these columns, whose hub is a Parquet file."""

    def prepare(columns: dict[str, Any], features: dict[str, Any], task: str = "classification", **keys: Any) -> Corpus:
        Dataset.from_dict(columns, features=Features(features)).to_parquet(tmp_path / "train.parquet")
        load = partial(datasets.load_dataset, "parquet", data_files={"train": str(tmp_path / "train.parquet")})
        with monkeypatch.context() as patch:
            patch.setattr(datasets, "load_dataset", lambda path, name, revision, streaming: load(streaming=streaming))
            return prepare_corpus(data(source="some/set", streaming=request.param, **keys), TASKS[task])

    return prepare


def reviews(prepare: Prepare, **keys: Any) -> Corpus:
    """Labels by number, and a column that is not read."""
    columns = {"text": [text for text, _ in ROWS], "label": [label for _, label in ROWS], "other": [None] * len(ROWS)}
    features = {"text": Value("string"), "label": ClassLabel(names=["bad", "good"]), "other": Value("int64")}
    return prepare(columns, features, **keys)


def test_labels_have_their_names(prepare: Prepare) -> None:
    corpus = reviews(prepare, validation_fraction=0.0)
    assert corpus.labels == ("bad", "good")
    assert texts(corpus, "train") == [text for text, _ in ROWS]
    assert corpus.splits["train"].targets.tolist() == [label for _, label in ROWS]  # type: ignore[union-attr]


def test_the_same_data_from_a_file(prepare: Prepare, tmp_path: Path) -> None:
    rows = [f"{text},{['bad', 'good'][label]}\n" for text, label in ROWS]
    (tmp_path / "a.csv").write_text("".join(["text,label\n", *rows]))
    local = data(source="csv", files={"train": str(tmp_path / "a.csv")})
    assert reviews(prepare).fingerprint == prepare_corpus(local, TASKS["classification"]).fingerprint


def test_a_column_that_is_not_there(prepare: Prepare) -> None:
    with pytest.raises(UserError, match=r"train: no column 'body' \(data.text\); columns are text, label, other"):
        reviews(prepare, text="body")


def test_a_list_of_named_tags(prepare: Prepare) -> None:
    features = {"text": Sequence(Value("string")), "label": Sequence(ClassLabel(names=["N", "V"]))}
    columns = {"text": [["a", "b"], ["c"]], "label": [[0, 1], [1]]}
    corpus = prepare(columns, features, task="tagging", tokenizer="tokens", validation_fraction=0.0)
    assert corpus.labels == ("N", "V")
    assert corpus.splits["train"].targets.values.tolist() == [0, 1, 1]  # type: ignore[union-attr]


def test_streaming_is_for_the_hub() -> None:
    with pytest.raises(UserError, match=r"data\.streaming is not read with data\.source=names"):
        prepare_corpus(data(source="names", streaming=True), TASKS["classification"])
