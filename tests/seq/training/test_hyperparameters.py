"""Settings that follow from the data."""

from pathlib import Path

import pytest

from seq.config import Config, LanguageModelConfig
from seq.config.read import dump_config, load_config, override_config, parse_config
from seq.data.corpus import prepare_corpus
from seq.data.loader import steps_per_epoch
from seq.tasks import task_of
from seq.training.hyperparameters import chosen_for, with_earlier_hyperparameters, with_hyperparameters
from tests.corpora import write_rows
from tests.helpers import train
from tests.runs import few_rows, result, words


def table(folder: Path, rows: int) -> dict[str, object]:
    path = write_rows(folder, "csv", [(f"name{number}", f"label{number % 3}") for number in range(rows)])
    return {"source": "csv", "files": {"train": str(path)}, "text": "name", "label": "origin"}


def test_what_the_config_gives_stays(tmp_path: Path) -> None:
    tree = {
        "run": {"auto_hyperparameters": True},
        "data": table(tmp_path, 200),
        "train": {"steps": 7},
        "model": {"output_dropout": 0.0},
    }
    config = parse_config(tree, where="test")
    corpus = prepare_corpus(config.data, task_of(config))
    sized = with_hyperparameters(config, corpus)
    assert (sized.train.steps, sized.model.output_dropout) == (7, 0.0)
    assert sized.model.token_dropout > 0
    assert not {"train.steps", "model.output_dropout"} & chosen_for(config, corpus).keys()
    (tmp_path / "config.yaml").write_text(dump_config(sized))
    again = load_config(tmp_path / "config.yaml")
    assert with_hyperparameters(again, corpus) == again == sized, "a run's own config gives everything"


def test_without_them_nothing_changes(tmp_path: Path) -> None:
    config = override_config(Config(), [], where="test")
    assert with_hyperparameters(config, prepare_corpus(config.data, task_of(config))) is config


def test_larger_data_take_more_steps_and_less_dropout(tmp_path: Path) -> None:
    found = []
    for rows in (60, 600, 6000):
        config = parse_config({"run": {"auto_hyperparameters": True}, "data": table(tmp_path, rows)}, where="test")
        found.append(chosen_for(config, prepare_corpus(config.data, task_of(config))))
    steps, dropout = ([values[key] for values in found] for key in ("train.steps", "model.output_dropout"))
    assert steps == sorted(steps)
    assert dropout == sorted(dropout, reverse=True)


def test_the_shape_of_another_run_stays_and_large_steps_are_fewer(tmp_path: Path) -> None:
    tree = {"run": {"auto_hyperparameters": True}, "data": table(tmp_path, 600), "train": {"init_from": "runs/other"}}
    config = parse_config(tree, where="test")
    assert "model.ngram_buckets" not in chosen_for(config, prepare_corpus(config.data, task_of(config)))
    (tmp_path / "a.txt").write_text("It was a dark and stormy night. " * 9000)
    data = {"source": "text", "files": {"train": str(tmp_path / "a.txt")}, "unit": "document"}
    steps = []
    for rows in (16, 32):
        batch = {"order": "stateful", "rows": rows, "bptt": 32}
        tree = {
            "run": {"auto_hyperparameters": True},
            "data": data,
            "batch": batch,
            "model": {"kind": "language_model"},
        }
        config = parse_config(tree, where="test")
        steps.append(chosen_for(config, prepare_corpus(config.data, task_of(config)))["train.steps"])
    assert steps[0] == pytest.approx(2 * steps[1], rel=0.02)


Case = dict[str, dict[str, object]]


@pytest.mark.parametrize(
    ("rows", "length", "more"),
    [
        (4499, 1, {}),
        (4499, 1, {"batch": {"shards": 8}}),
        (4499, 1, {"batch": {"shards": 1}}),
        (4499, 1, {"batch": {"rows": 64}}),
        (2000, 30, {"batch": {"tokens": 600}, "data": {"max_length": 300}}),  # the budget of tokens decides
        (4499, 3, {"data": {"tokenizer": "words"}}),
    ],
)
def test_passes_of_rows_are_those_of_the_documentation(rows: int, length: int, more: Case, tmp_path: Path) -> None:
    path = write_rows(tmp_path, "csv", [(f"name{row} " * length, f"label{row % 3}") for row in range(rows)])
    data = {"source": "csv", "files": {"train": str(path)}, "text": "name", "label": "origin"} | more.get("data", {})
    tree = {"run": {"auto_hyperparameters": True}, "data": data, "batch": more.get("batch", {})}
    config = parse_config(tree, where="test")
    corpus = prepare_corpus(config.data, task_of(config))
    sized, size = with_hyperparameters(config, corpus), len(corpus.splits["train"])
    passes = sized.train.steps / steps_per_epoch(corpus.splits["train"], sized.batch)  # type: ignore[operator]
    tokens = int(corpus.splits["train"].lengths.sum())
    assert passes == pytest.approx(min(24 / (size / 10_000) ** 0.5, 16e6 / tokens), rel=0.01)
    if not more.get("batch"):
        assert sized.batch.rows * 4 == pytest.approx(64 * (size / 10_000) ** 0.5, abs=2)


@pytest.mark.parametrize("tokenizer", ["characters", "subwords", "words", "bytes"])
@pytest.mark.parametrize("batch", [{}, {"shards": 2, "rows": 8}])
def test_passes_of_text_are_those_of_the_documentation(tokenizer: str, batch: dict[str, int], tmp_path: Path) -> None:
    text = "".join(f"Sentence {n * n % 977} of a long text, which has {n} of them.\n" for n in range(8000))
    (tmp_path / "a.txt").write_text(text)
    data = {"source": "text", "files": {"train": str(tmp_path / "a.txt")}, "unit": "document", "tokenizer": tokenizer}
    tree = {"run": {"auto_hyperparameters": True}, "data": data, "model": {"kind": "language_model"}}
    tree["batch"] = {"order": "stateful", "rows": 4, "bptt": 16} | batch
    config = parse_config(tree, where="test")
    corpus = prepare_corpus(config.data, task_of(config))
    split, sized = corpus.splits["train"], with_hyperparameters(config, corpus)
    passes = sized.train.steps / steps_per_epoch(split, sized.batch)  # type: ignore[operator]
    assert passes == pytest.approx(min(12 / (split.num_characters / 1e6) ** 0.7, 15), rel=0.01)
    assert isinstance(sized.model, LanguageModelConfig)
    assert sized.model.output_dropout == pytest.approx(min(0.02 * passes, 0.4), abs=2e-3)


def test_nothing_follows_from_the_processor(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("It was a dark and stormy night. " * 900)
    data = {"source": "text", "files": {"train": str(tmp_path / "a.txt")}}
    config = parse_config(
        {"run": {"auto_hyperparameters": True}, "data": data, "model": {"kind": "language_model"}}, where="test"
    )
    assert not [key for key in chosen_for(config, prepare_corpus(config.data, task_of(config))) if "precision" in key]


def test_settings_of_the_first_start_stay(tmp_path: Path) -> None:
    """Also if the data have grown since."""
    config = parse_config({"run": {"auto_hyperparameters": True}, "data": table(tmp_path, 600)}, where="test")
    sized = with_hyperparameters(config, prepare_corpus(config.data, task_of(config)))
    (tmp_path / "config.yaml").write_text(dump_config(sized))
    assert with_earlier_hyperparameters(config, tmp_path / "config.yaml") == sized


def test_long_texts_learn_their_ngrams_faster(tmp_path: Path) -> None:
    rates = []
    for length in (2, 10, 200):
        path = write_rows(
            tmp_path, "csv", [(f"{number} " * length, f"label{number % 3}") for number in range(100, 300)]
        )
        data = {"source": "csv", "files": {"train": str(path)}, "text": "name", "label": "origin", "max_length": 9999}
        tree = {"run": {"auto_hyperparameters": True}, "data": data, "batch": {"tokens": 20000}}
        config = parse_config(tree, where="test")
        rates.append(chosen_for(config, prepare_corpus(config.data, task_of(config)))["optimizer.ngram_lr_scale"])
    assert 1 <= rates[0] < rates[1] <= rates[2] == 4


@pytest.mark.slow
def test_a_run_with_them_goes_on_and_is_refitted(tmp_path: Path) -> None:
    """The rules are applied at each start, with the same result; the refit keeps what the search had."""
    base = [
        word
        for word in words(tmp_path, "names", "run.auto_hyperparameters=true", "run.name=a")
        if "train.steps" not in word
    ]
    rare = ("evaluation.every_steps=100", "checkpoint.every_steps=100")
    command = [*base, *few_rows(tmp_path), *rare]
    done = train(*command)
    assert done.returncode == 0, done.stderr
    whole = result(tmp_path / "a")
    (tmp_path / "a" / "result.json").unlink()
    assert train(*command).returncode == 0
    assert result(tmp_path / "a")["params_sha256"] == whole["params_sha256"]
    data = (tmp_path / "rows.csv").read_bytes()
    (tmp_path / "rows.csv").unlink()
    assert "already finished" in train(*command).stdout, "a finished run does not need its data"
    (tmp_path / "rows.csv").write_bytes(data)
    assert train(*command, "--refit").returncode == 0
    searched, again = (load_config(tmp_path / name / "config.yaml") for name in ("a", "a-refit"))
    assert again.model == searched.model
    assert again.train.steps == whole["step"]
