"""A run that keeps its best weights: the same choice at every world size, after a kill, and in what it exports."""

from pathlib import Path

import pytest

import seq
from seq.run.checkpoint import load_checkpoint, params_sha256
from seq.tasks.classification import LoadedClassifier
from tests.helpers import run, train
from tests.runs import few_rows, invariant, metrics, result, words

pytestmark = pytest.mark.slow

CHOICE = (
    *("checkpoint.monitor=macro_f1", "train.patience=3", "train.average_last=0.5", "train.class_weights=0.5"),
    *("evaluation.every_steps=1", "checkpoint.every_steps=2", "train.steps=30", "optimizer.lr=3e-2"),
)


def command(folder: Path) -> list[str]:
    return [*words(folder, "names", *CHOICE), *few_rows(folder)]


def test_every_launch_chooses_alike(tmp_path: Path) -> None:
    for size in (1, 2, 3):
        done = train(*command(tmp_path), f"run.name=w{size}", world_size=size)
        assert done.returncode == 0, done.stderr
    assert invariant(tmp_path / "w1") == invariant(tmp_path / "w2") == invariant(tmp_path / "w3")
    whole = result(tmp_path / "w1")
    figures = {
        line["step"]: line["macro_f1"] for line in metrics(tmp_path / "w1", "eval") if line["split"] == "validation"
    }
    best = whole["best"]["step"]
    assert figures[best] == max(figures.values()) == whole["best"]["value"]
    assert whole["step"] == best + 3 == max(figures), "it ends when patience does"
    assert whole["eval"]["macro_f1"] == figures[best]
    for stop in (2, best + 3 - (best + 3) % 2):
        name = f"killed-{stop}"
        killed = run(
            "python", "-m", "tests.faults", "die_after_save", str(stop), *command(tmp_path), f"run.name={name}"
        )
        assert killed.returncode == 9, killed.stderr
        assert train(*command(tmp_path), f"run.name={name}", world_size=2).returncode == 0
        assert invariant(tmp_path / name)["result"] == invariant(tmp_path / "w1")["result"]


def test_the_best_weights_are_exported_and_used(tmp_path: Path) -> None:
    done = train(*command(tmp_path), "run.name=a", "logging.report=true")
    assert done.returncode == 0, done.stderr
    expected = result(tmp_path / "a")
    says = f"weights of step {expected['best']['step']}, the best by macro_f1"
    assert says in done.stdout
    assert says.replace("macro_f1", "macro F1") in (tmp_path / "a" / "report.html").read_text()
    assert load_checkpoint(tmp_path / "a" / "checkpoints" / "best.pt")["progress"]["step"] == expected["best"]["step"]
    for folder in (tmp_path / "a", tmp_path / "a" / "model"):
        model = seq.load(folder)
        assert isinstance(model, LoadedClassifier)
        assert params_sha256(model.trained.model) == expected["params_sha256"]
        assert model.trained.step == expected["best"]["step"]


def test_refit_trains_on_all_data_for_the_chosen_steps(tmp_path: Path) -> None:
    search = (*command(tmp_path), "run.name=a")
    refit = (*search, "--refit")
    early = train(*refit)
    assert (early.returncode, "is for a run that is finished" in early.stderr) == (2, True)
    for words_of_start in (search, refit):
        done = train(*words_of_start, world_size=2)
        assert done.returncode == 0, done.stderr
    searched, again = result(tmp_path / "a"), result(tmp_path / "a-refit")
    assert again["step"] == searched["best"]["step"]
    rows = {name: part["rows"] for name, part in searched["data"].items()}
    assert {name: part["rows"] for name, part in again["data"].items()} == {"train": sum(rows.values())}
    # A killed refit goes on.
    (tmp_path / "a-refit" / "result.json").unlink()
    assert train(*refit).returncode == 0
    assert result(tmp_path / "a-refit")["params_sha256"] == again["params_sha256"]


def test_runs_are_averaged(names: Path, speeches: Path, tmp_path: Path) -> None:
    """By `seq.load`, `seq.predict` and `seq.evaluate`; twice the same run gives what it gives alone."""
    other = tmp_path / "other"
    again = words(tmp_path, "names", "run.name=other", "run.seed=2")
    assert train(*again).returncode == 0
    one, two, both = (seq.load(runs) for runs in ([names], [other], [names, other]))
    texts = ["Smith", "Ivanov", "Rossi"]
    assert isinstance(one, LoadedClassifier)
    assert isinstance(two, LoadedClassifier)
    assert isinstance(both, LoadedClassifier)
    parts = zip(one.probabilities(texts), two.probabilities(texts), both.probabilities(texts), strict=True)
    for first, second, mean in parts:
        assert mean == pytest.approx({label: (first[label] + second[label]) / 2 for label in first}, abs=1e-6)
    printed = run("python", "-m", "seq.predict", names, other, "Smith")
    best = max(both.probabilities(["Smith"])[0].items(), key=lambda item: item[1])
    assert printed.stdout.startswith(f"Smith\t{best[0]} {best[1]:.3f}")
    figures = [run("python", "-m", "seq.evaluate", names, *more).stdout.splitlines()[-2] for more in ((), (names,))]
    assert figures[0] == figures[1]
    refused = run("python", "-m", "seq.predict", names, speeches, "Smith")
    assert refused.returncode == 2
    assert "only classifiers and encoder-decoders can be averaged" in refused.stderr
