"""What one does with a run: predict, generate, evaluate; and what W&B has of it."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from seq.inference.classify import predict, probabilities

from seq.inference.trained import load_run
from tests.helpers import run
from tests.runs import metrics, result
from tests.wandb_file import wandb_history, wandb_records

pytestmark = pytest.mark.slow


def test_predict(names: Path) -> None:
    texts = ["Adylov", "Sloan", "Harb", "San", ""]
    done = run("python", "-m", "seq.predict", names, *texts, "--top", "18")
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == texts
    for line in lines:
        chances = [float(word.rpartition(" ")[2]) for word in line[1:]]
        assert len(chances) == 18
        assert sum(chances) == pytest.approx(1, abs=0.02)
        assert chances == sorted(chances, reverse=True)
    # Together or one by one, the same.
    trained = load_run(names, None)
    alone = torch.cat([probabilities(trained, [text]) for text in texts])
    torch.testing.assert_close(probabilities(trained, texts), alone)


def test_predict_streams_stdin_and_cuts_endless_lines(names: Path) -> None:
    done = run("python", "-m", "seq.predict", names, stdin="Sloan\r\n" + "x" * 300_000 + "\nHarb\n\nSan")
    assert done.returncode == 0, done.stderr
    texts = [line.split("\t")[0] for line in done.stdout.splitlines()]
    assert [texts[0], texts[2:]] == ["Sloan", ["Harb", "", "San"]]
    assert set(texts[1]) == {"x"}
    assert len(texts[1]) <= 33
    assert "cut to data.max_length" in done.stderr


def test_predict_takes_any_number_of_texts(names: Path) -> None:
    """Lazily: the third result comes before the tenth text is asked for."""
    asked = []

    def texts() -> Iterator[str]:
        for number in range(1000):
            asked.append(number)
            yield "Sloan"

    results = predict(load_run(names, None), texts(), top=1, rows=4)
    for _ in range(3):
        next(results)
    assert len(asked) == 4


def test_generate(speeches: Path) -> None:
    command = ("python", "-m", "seq.generate", speeches, "--prime", "99 bottles", "--length", "30")
    first, again, other = (run(*command, *more) for more in ((), (), ("--seed", "2")))
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("99 bottles")
    assert first.stdout == again.stdout != other.stdout
    several = run(*command, "--num", "3", "--temperature", "2", "--top-k", "5", "--top-p", "0.9")
    assert several.stdout.count("99 bottles") >= 3
    coldest = run(*command, "--num", "2", "--temperature", "0").stdout.split("\n" + "-" * 40 + "\n")
    assert coldest[0].strip() == coldest[1].strip()
    unknown = run(*command, "--prime", "99 \u00fc")
    assert "the training text has no '\u00fc'" in unknown.stderr


def test_generate_stops_before_a_text_and_reads_its_prompt_from_a_file(speeches: Path, tmp_path: Path) -> None:
    command = ("python", "-m", "seq.generate", speeches, "--length", "60", "--temperature", "2")
    (tmp_path / "prompt.txt").write_text("99 bottles")
    whole = run(*command, "--prime-file", tmp_path / "prompt.txt").stdout.removesuffix("\n")
    assert whole.startswith("99 bottles")
    stop = whole[20:22]
    for num in ("1", "2"):
        cut = run(*command, "--prime-file", "-", "--stop", stop, "--num", num, stdin="99 bottles").stdout
        if num == "1":
            assert cut.removesuffix("\n") == "99 bottles" + whole.removeprefix("99 bottles").partition(stop)[0]
        assert stop not in cut.replace("99 bottles", "")
    penalised = run(*command, "--prime", "99 bottles", "--repetition-penalty", "1000").stdout
    assert penalised.strip() != whole


def test_generate_interactively_goes_on_with_what_is_typed(speeches: Path) -> None:
    command = ("python", "-m", "seq.generate", speeches, "--length", "20", "--interactive")
    done = run(*command, stdin="99 bottles\n on the\u00fc\n")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 2
    assert "the training text has no '\u00fc'" in done.stderr


def test_names_are_written_by_label(generator: Path) -> None:
    command = ("python", "-m", "seq.generate", generator)
    ten = run(*command, "--label", "Italian", "--num", "10")
    assert ten.returncode == 0, ten.stderr
    assert len(ten.stdout.splitlines()) == 10
    missing = run(*command, "--label", "Elvish")
    assert missing.returncode == 2
    assert "label 'Elvish' is none of the training data; there are Arabic, Chinese" in missing.stderr
    assert "a label is missing" in run(*command).stderr
    samples = [json.loads(line) for line in (generator / "samples.jsonl").read_text().splitlines()]
    assert {sample["label"] for sample in samples} > {"Irish", "Polish"}
    judged = metrics(generator, "judge")
    assert all(0 <= line["known_words"] <= 1 for line in judged if "known_words" in line)
    assert judged


def test_evaluate_is_what_the_run_said_at_any_world_size(names: Path, speeches: Path) -> None:
    loss = result(names)["eval"]["loss"]
    for launcher in (("python",), ("torchrun", "--standalone", "--nproc_per_node=2")):
        done = run(*launcher, "-m", "seq.evaluate", names)
        assert done.returncode == 0, done.stderr
        assert f"{loss:.4f}" in done.stdout
    bits = result(speeches)["eval"]["bits_per_char"]
    assert f"{bits:.4f}" in run("python", "-m", "seq.evaluate", speeches).stdout


def test_evaluate_other_data_with_the_models_own_vocabulary(speeches: Path, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("Zebras & quails? 5 bottles.")
    done = run("python", "-m", "seq.evaluate", speeches, f"data.files.test={tmp_path / 'other.txt'}")
    assert done.returncode == 0, done.stderr
    assert "test" in done.stdout


def test_programs_refuse_in_one_line(names: Path, speeches: Path, tmp_path: Path) -> None:
    for command, message in (
        (("predict", tmp_path, "x"), "no run with a checkpoint"),
        (("predict", speeches, "x"), "is a language model; use python -m seq.generate"),
        (("generate", names), "is a classifier; use python -m seq.predict"),
        (("generate", speeches, "--label", "x"), "label 'x': the model was not trained by label"),
        (("generate", speeches, "--prime-file", "none.txt"), "--prime-file none.txt: cannot be read"),
        (("generate", speeches, "--top-p", "2"), "generation.top_p: must be less than or equal to 1"),
        (("generate", speeches, "--num", "0"), "--num 0: must be at least 1"),
        (("evaluate", names, "--checkpoint", "step-9.pt"), "no checkpoint step-9.pt; it has step-00000008.pt"),
        (("evaluate", names, "data.sauce=x"), "data.sauce: unknown key; did you mean data.source?"),
    ):
        done = run("python", "-m", f"seq.{command[0]}", *command[1:])
        assert done.returncode == 2
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_exported_model(names: Path) -> None:
    from safetensors.torch import load_file

    weights = load_file(names / "model" / "model.safetensors")
    trained = load_run(names, None).model.state_dict()
    assert weights.keys() == trained.keys()
    assert all(torch.equal(weights[name], trained[name]) for name in weights)
    about = json.loads((names / "model" / "config.json").read_text())
    assert about["config"]["model"]["hidden_size"] == 8
    assert len(about["labels"]) == 18
    card = (names / "model" / "README.md").read_text()
    assert f"accuracy {result(names)['eval']['accuracy']:.4g}" in card
    assert "Not for decisions about people" in card


def test_wandb_has_what_metrics_jsonl_has(names: Path, speeches: Path) -> None:
    for folder, split in ((names, "test"), (speeches, "validation")):
        records = list(wandb_records(folder))
        history = wandb_history(folder)
        logged = {row["step"]: row["train/loss"] for row in history if "train/loss" in row}
        assert logged == {line["step"]: line["loss"] for line in metrics(folder, "train")}
        (final,) = [row for row in history if row["step"] == 12 and f"{split}/loss" in row]
        assert final[f"{split}/loss"] == result(folder)["eval"]["loss"]
        key = "samples/path" if folder is speeches else "test/confusion_table/path"
        tables = [folder / "wandb" / "latest-run" / "files" / row[key] for row in history if key in row]
        assert len(tables) == (2 if folder is speeches else 1)
        cells = json.loads(tables[-1].read_text())["data"]
        if folder is names:
            assert sum(count for _, _, count in cells) == 5696
            (classes,) = [row["test/classes/path"] for row in history if "test/classes/path" in row]
            rows = json.loads((folder / "wandb" / "latest-run" / "files" / classes).read_text())["data"]
            assert sum(support for *_, support, _ in rows) == 5696
            (curves,) = [row[key] for row in history if (key := "test/precision_recall_table/path") in row]
            points = json.loads((folder / "wandb" / "latest-run" / "files" / curves).read_text())["data"]
            assert len({label for label, _, _ in points}) == 18
            assert all(0 <= figure <= 1 for _, *pair in points for figure in pair)
            kept = [record.artifact.name for record in records if record.WhichOneof("record_type") == "artifact"]
            assert {"names-model", "names-checkpoint"} <= set(kept)
        else:
            samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
            assert cells == [[sample["step"], "", sample["prompt"], sample["text"]] for sample in samples]
        (started,) = {record.run.run_id for record in records if record.WhichOneof("record_type") == "run"}
        assert started == (folder / "wandb-id").read_text()


def test_perplexity_and_bits_agree(speeches: Path) -> None:
    figures = result(speeches)["eval"]
    assert figures["perplexity"] == pytest.approx(math.exp(figures["loss"]))
