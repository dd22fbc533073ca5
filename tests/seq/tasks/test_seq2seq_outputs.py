"""From training to use, and what people see on the way."""

import json
from pathlib import Path

import pytest

import seq
from seq.errors import UserError
from seq.tasks.seq2seq import LoadedSeq2Seq
from tests.helpers import run, train
from tests.runs import result, words
from tests.wandb_file import wandb_history

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    more = ("train.steps=250", "optimizer.lr=0.02", "evaluation.every_steps=125", "logging.report=true")
    sizes = ("model.hidden_size=32", "batch.rows=16", "logging.wandb=offline", "model.output_dropout=0")
    best = ("checkpoint.monitor=plain_sequence_error", "data.validation_fraction=0.1")
    done = train(*words(folder, "seq2seq", *more, *sizes, *best, "run.name=t"), world_size=2)
    assert done.returncode == 0, done.stderr
    return folder / "t"


def test_it_learns_and_is_evaluated(folder: Path) -> None:
    figures = result(folder)["eval"]
    assert figures["plain_sequence_error"] < 0.6
    assert figures["plain_sequence_error"] <= figures["sequence_error"]
    assert figures["plain_token_error"] <= figures["token_error"]
    done = run("python", "-m", "seq.evaluate", folder)
    assert f"{figures['loss']:.4f}" in done.stdout, done.stderr
    done = run("python", "-m", "seq.evaluate", folder, "evaluation.beam=4", "--split", "validation")
    assert done.returncode == 0, done.stderr


def test_samples_with_attention(folder: Path) -> None:
    samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    about = next(sample["attention"] for sample in samples if "attention" in sample)
    assert [len(row) for row in about["weights"]] == [len(about["source"])] * len(about["target"])
    assert all(sum(row) == pytest.approx(1, abs=0.02) for row in about["weights"])
    page = (folder / "report.html").read_text()
    assert 'class="matrix attention"' in page
    assert "wrong outputs" in page
    assert any(key.startswith("attention") for row in wandb_history(folder) for key in row)


def test_use(folder: Path) -> None:
    model = seq.load(folder)
    assert isinstance(model, LoadedSeq2Seq)
    ((first, second),) = model.nbest(["16"], number=2)
    assert first.probability >= second.probability > 0
    assert model.predict("16") == first.text
    assert model.predict(["361", "16"])[1] == first.text
    exported = seq.load(folder / "model")
    assert isinstance(exported, LoadedSeq2Seq)
    assert exported.predict(["16"])[0] == first.text
    done = run("python", "-m", "seq.predict", folder, "16", "25", "--nbest", "2")
    assert done.stdout.splitlines()[0].split("\t")[:2] == ["16", f"{first.text} {first.probability:.3f}"], done.stderr
    done = run("python", "-m", "seq.predict", folder, stdin="16\n25\n")
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["16", "25"]
    done = run("python", "-m", "seq.export", folder)
    assert [Path(line).name for line in done.stdout.split()] == ["model.encoder.onnx", "model.decoder.onnx"]
    assert run("python", "-m", "seq.inspect", folder / "config.yaml").returncode == 0


def test_another_run_begins_with_its_weights_and_tokens(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\n" + "".join(f"{n},a0 b1\n" for n in range(20)))
    config = folder / "config.yaml"
    command: list[str | Path] = [
        config,
        f"data.files.train={tmp_path / 'rows.csv'}",
        f"run.output_dir={tmp_path}",
        "run.name=again",
    ]
    done = train(*command, f"train.init_from={folder}", "train.steps=1", "optimizer.lr=1e-9", "checkpoint.monitor=null")
    assert done.returncode == 0, done.stderr
    before, after = seq.load(folder), seq.load(tmp_path / "again")
    assert isinstance(before, LoadedSeq2Seq)
    assert isinstance(after, LoadedSeq2Seq)
    assert after.trained.outputs == before.trained.outputs
    assert after.predict("16") == before.predict("16")
    other = train(*command, f"train.init_from={folder}", "data.target_tokenizer=characters", "run.name=b")
    assert other.returncode == 2
    assert "set data.target_tokenizer=tokens" in other.stderr


def test_bad_input(folder: Path) -> None:
    model = seq.load(folder)
    assert isinstance(model, LoadedSeq2Seq)
    for text, reason in (("", "text 1 of 1 is empty"), ("1" * 9, "more than data.max_length=8")):
        with pytest.raises(UserError, match=reason):
            model.predict([text])
    assert run("python", "-m", "seq.predict", folder, "1", "--beam", "0").returncode == 2
    assert run("python", "-m", "seq.predict", folder, "").returncode == 2
    assert "--top is not for this model" in run("python", "-m", "seq.predict", folder, "1", "--top", "2").stderr
