"""Settings that follow from the data."""

from pathlib import Path

import pytest

from seq.config import Config
from seq.config.read import dump_config, load_config, override_config, parse_config
from seq.data.corpus import prepare_corpus
from seq.training import recipe as recipes
from seq.training.recipe import recipe, with_earlier_recipe, with_recipe
from tests.corpora import write_rows
from tests.helpers import train
from tests.runs import few_rows, result, words


def table(folder: Path, rows: int) -> dict[str, object]:
    path = write_rows(folder, "csv", [(f"name{number}", f"label{number % 3}") for number in range(rows)])
    return {"source": "csv", "files": {"train": str(path)}, "text": "name", "label": "origin"}


def test_what_the_config_gives_stays(tmp_path: Path) -> None:
    tree = {
        "run": {"recipe": "auto"},
        "data": table(tmp_path, 200),
        "train": {"steps": 7},
        "model": {"output_dropout": 0.0},
    }
    config = parse_config(tree, where="test")
    corpus = prepare_corpus(config.data, config.task)
    sized = with_recipe(config, corpus)
    assert (sized.train.steps, sized.model.output_dropout) == (7, 0.0)
    assert sized.model.token_dropout > 0
    assert not {"train.steps", "model.output_dropout"} & recipe(config, corpus).keys()
    (tmp_path / "config.yaml").write_text(dump_config(sized))
    again = load_config(tmp_path / "config.yaml")
    assert with_recipe(again, corpus) == again == sized, "a run's own config gives everything"


def test_without_the_recipe_nothing_changes(tmp_path: Path) -> None:
    config = override_config(Config(), [], where="test")
    assert with_recipe(config, prepare_corpus(config.data, config.task)) is config


def test_larger_data_take_more_steps_and_less_dropout(tmp_path: Path) -> None:
    found = []
    for rows in (60, 600, 6000):
        config = parse_config({"run": {"recipe": "auto"}, "data": table(tmp_path, rows)}, where="test")
        found.append(recipe(config, prepare_corpus(config.data, config.task)))
    steps, dropout = ([values[key] for values in found] for key in ("train.steps", "model.output_dropout"))
    assert steps == sorted(steps)
    assert dropout == sorted(dropout, reverse=True)


def test_the_shape_of_another_run_stays_and_large_steps_are_fewer(tmp_path: Path) -> None:
    tree = {"run": {"recipe": "auto"}, "data": table(tmp_path, 600), "train": {"init_from": "runs/other"}}
    config = parse_config(tree, where="test")
    assert "model.ngram_buckets" not in recipe(config, prepare_corpus(config.data, config.task))
    (tmp_path / "a.txt").write_text("It was a dark and stormy night. " * 9000)
    data = {"source": "text", "files": {"train": str(tmp_path / "a.txt")}, "unit": "document"}
    steps = []
    for rows in (16, 32):
        batch = {"order": "stream", "rows": rows, "window": 32}
        tree = {"run": {"recipe": "auto"}, "data": data, "batch": batch, "model": {"kind": "language_model"}}
        config = parse_config(tree, where="test")
        steps.append(recipe(config, prepare_corpus(config.data, config.task))["train.steps"])
    assert steps[0] == pytest.approx(2 * steps[1], abs=1)


def test_bf16_where_the_machine_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first start decides, and writes it down."""
    (tmp_path / "a.txt").write_text("It was a dark and stormy night. " * 900)
    data = {"source": "text", "files": {"train": str(tmp_path / "a.txt")}}
    config = parse_config({"run": {"recipe": "auto"}, "data": data, "model": {"kind": "language_model"}}, where="test")
    corpus = prepare_corpus(config.data, config.task)
    for imitates, precision in ((True, "fp32"), (False, "bf16")):
        monkeypatch.setattr(recipes, "imitates_bf16", lambda imitates=imitates: imitates)
        sized = with_recipe(config, corpus)
        assert sized.train.precision == precision
        (tmp_path / f"{precision}.yaml").write_text(dump_config(sized))
    assert with_earlier_recipe(config, tmp_path / "fp32.yaml").train.precision == "fp32"


def test_long_texts_learn_their_ngrams_faster(tmp_path: Path) -> None:
    rates = []
    for length in (2, 10, 200):
        path = write_rows(
            tmp_path, "csv", [(f"{number} " * length, f"label{number % 3}") for number in range(100, 300)]
        )
        data = {"source": "csv", "files": {"train": str(path)}, "text": "name", "label": "origin", "max_length": 9999}
        tree = {"run": {"recipe": "auto"}, "data": data, "batch": {"tokens": 20000}}
        config = parse_config(tree, where="test")
        rates.append(recipe(config, prepare_corpus(config.data, config.task))["optimizer.table_lr"])
    assert 1 <= rates[0] < rates[1] <= rates[2] == 4


@pytest.mark.slow
def test_a_run_with_the_recipe_goes_on_and_is_refitted(tmp_path: Path) -> None:
    """The rules are applied at each start, with the same result; the refit keeps what the search had."""
    base = [word for word in words(tmp_path, "names", "run.recipe=auto", "run.name=a") if "train.steps" not in word]
    rare = ("evaluation.every_steps=100", "checkpoint.every_steps=100")
    command = [*base, *few_rows(tmp_path), *rare, "train.refit=true"]
    done = train(*command)
    assert done.returncode == 0, done.stderr
    whole = result(tmp_path / "a")
    (tmp_path / "a" / "result.json").unlink()
    assert train(*command).returncode == 0
    assert result(tmp_path / "a")["params_sha256"] == whole["params_sha256"]
    (tmp_path / "rows.csv").unlink()
    assert "already finished" in train(*command).stdout, "a finished run does not need its data"
    searched, again = (load_config(tmp_path / name / "config.yaml") for name in ("a", "a-refit"))
    assert again.model == searched.model
    assert again.train.steps == whole["step"]
