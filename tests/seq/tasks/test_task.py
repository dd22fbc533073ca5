"""Columns of labels, sets of labels and numbers, as files have them; and what is wrong with them."""

import re
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch

from seq.config.read import SHIPPED, load_config, override_config, parse_config
from seq.data.corpus import Corpus, prepare_corpus
from seq.data.dataset import SequenceDataset, decode_rows
from seq.data.plan import PassRequest, ShardSizes
from seq.data.ragged import RaggedArray
from seq.errors import UserError
from seq.tasks import TASKS, task_of
from tests.corpora import data

TEXTS = ["one", "two", "three", "four", "five"]
SETS = [["x", "y"], [], ["y"], ["x", "z"], ["y"]]
NUMBERS = [1.5, -2.0, 3.0, 1e3, 0.25]


def corpus_of(folder: Path, kind: str, column: str, values: list[object], task: str, **more: object) -> Corpus:
    path, table = folder / f"train.{kind}", pandas.DataFrame({"text": TEXTS, column: values})
    if kind == "csv":
        table.to_csv(path, index=False)
    elif kind == "json":
        table.to_json(path, orient="records", lines=True)
    else:
        table.to_parquet(path)
    keys = {"source": kind, "files": {"train": str(path)}, "label": column, "validation_fraction": 0.0}
    return prepare_corpus(data(**keys, **more), TASKS[task])


def shown(corpus: Corpus) -> dict[str, str]:
    """Text and target of all rows, as a batch has them."""
    split = corpus.splits["train"]
    batch = SequenceDataset(split).gather(np.arange(len(split)))
    return {row["text"]: row["label"] for row in decode_rows(batch, corpus)}


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_sets_of_labels(tmp_path: Path, kind: str) -> None:
    values: list[object] = ["|".join(own) for own in SETS] if kind == "csv" else list(SETS)
    corpus = corpus_of(tmp_path, kind, "topics", values, "multilabel", label_separator="|")
    assert corpus.labels == ("x", "y", "z")
    assert shown(corpus) == {text: "; ".join(own) for text, own in zip(TEXTS, SETS, strict=True)}


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_numbers(tmp_path: Path, kind: str) -> None:
    corpus = corpus_of(tmp_path, kind, "price", list(NUMBERS), "regression")
    assert (corpus.outputs.mean, corpus.outputs.scale) == pytest.approx((np.mean(NUMBERS), np.std(NUMBERS)))
    assert {text: float(number) for text, number in shown(corpus).items()} == pytest.approx(
        dict(zip(TEXTS, NUMBERS, strict=True)), rel=1e-3
    )


@pytest.mark.parametrize(("task", "value"), [("regression", "cheap"), ("regression", "nan"), ("classification", "")])
def test_a_wrong_target_names_its_row(tmp_path: Path, task: str, value: str) -> None:
    with pytest.raises(UserError, match=r"train row 3: column 'price' \(data.label\)"):
        corpus_of(tmp_path, "csv", "price", ["1", "2", value, "4", "5"], task)


def test_no_label_at_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no row has a label"):
        corpus_of(tmp_path, "csv", "topics", [""] * 5, "multilabel")


def test_a_row_that_is_not_there_has_no_target(tmp_path: Path) -> None:
    nothing, no_row = np.array([0]), np.array([-1])
    for task, values in (("multilabel", [";".join(own) for own in SETS]), ("regression", list(NUMBERS))):
        corpus = corpus_of(tmp_path, "csv", task, list(values), task)
        batch = SequenceDataset(corpus.splits["train"])[
            PassRequest(0, range(1), no_row, None, ShardSizes(nothing, nothing, nothing, nothing, (1, 1)))
        ]
        assert batch.inputs.tolist() == [[0]]
        assert not bool((batch.targets >= 0).any())
        assert decode_rows(batch, corpus) == []
        assert batch.targets.dtype == torch.float32


def test_rows_of_one_text_stay_together(tmp_path: Path) -> None:
    """A validation split is taken of each set of labels."""
    rows = "".join(f"text{n % 60},{'x' * (n % 2)}\n" for n in range(600))
    (tmp_path / "rows.csv").write_text("text,label\n" + rows)
    keys = {"source": "csv", "files": {"train": str(tmp_path / "rows.csv")}, "validation_fraction": 0.2}
    splits = prepare_corpus(data(**keys), TASKS["multilabel"]).splits
    assert len(splits["validation"]) == 120
    targets = splits["validation"].targets
    assert isinstance(targets, RaggedArray)
    assert 0 < int(targets.lengths.sum()) < 120


def test_rare_sets_of_labels_leave_rows_to_validate_on(tmp_path: Path) -> None:
    sets = (
        ";".join(label for bit, label in enumerate("abcdefghijkl") if n * 2654435761 >> bit & 1) for n in range(500)
    )
    (tmp_path / "rows.csv").write_text("text,label\n" + "".join(f"text{n},{own}\n" for n, own in enumerate(sets)))
    keys = {"source": "csv", "files": {"train": str(tmp_path / "rows.csv")}, "validation_fraction": 0.1}
    assert len(prepare_corpus(data(**keys), TASKS["multilabel"]).splits["validation"]) == 50


def test_equal_numbers(tmp_path: Path) -> None:
    assert corpus_of(tmp_path, "csv", "price", [0.1] * 5, "regression").outputs.scale == 1.0


FAULTS = {
    "batch.tokens=100": "batch.tokens (100) must hold one sequence: at least 258",
    "model.kind=language_model model.condition=label batch.order=stateful data.unit=document": "texts without labels",
    "data.too_long=split": "data.too_long=split is for texts without labels",
    "data.tokenizer=tokens": "data.tokenizer=tokens and model.kind=tagger go together",
    "checkpoint.monitor=r2": "checkpoint.monitor=r2: this model has loss, accuracy, macro_f1",
    "model.target=number train.label_smoothing=0.1": "train.label_smoothing is for single labels",
    "model.target=labels train.class_weights=1": "train.class_weights is for",
    "model.target=many": "model.kind=classifier: nothing to predict; set model.target=label or model.target=labels or",
    "model.kind=seq2seq batch.tokens=300 data.max_length=200": "at least 404",
    "model.kind=seq2seq run.auto_hyperparameters=true": "run.auto_hyperparameters=true has no rules",
    "model.kind=seq2seq checkpoint.monitor=plain_token_error": "needs evaluation.ignore",
    "model.kind=language_model checkpoint.monitor=window_loss": "needs data.unit=document",
}


@pytest.mark.parametrize("words", FAULTS)
def test_what_a_task_does_not_have(words: str) -> None:
    kinds = [word.partition("=")[2] for word in words.split() if word.startswith("model.kind=")]
    config = parse_config({"model": {"kind": kinds[0]}} if kinds else {}, where="test")
    with pytest.raises(UserError, match=re.escape(FAULTS[words])):
        task_of(override_config(config, words.split(), where="test"))


def test_every_shipped_config_has_a_task() -> None:
    names = {task_of(load_config(path)).name for path in SHIPPED.glob("*.yaml") if path.stem != "sweep"}
    assert {"classification", "language_modeling", "seq2seq", "tagging"} <= names <= TASKS.keys()
