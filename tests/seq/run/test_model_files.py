import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml

import seq
from seq.config.read import parse_config
from seq.models import build_model
from seq.run.model_files import save_weights
from seq.run.trained import load_run
from seq.tasks.classification import LoadedClassifier
from seq.tasks.multilabel import LoadedMultilabel
from seq.tasks.regression import LoadedRegressor
from seq.tasks.tagging import LoadedTagger
from tests.helpers import run, run_many
from tests.runs import result, words


def test_weights_in_one_block(tmp_path: Path) -> None:
    """As on a GPU, where cuDNN keeps all weights of a GRU in one block; here with a weight that two layers share."""
    from safetensors.torch import load_file

    model = {"kind": "language_model", "embedding_dim": 6, "hidden_size": 6, "tie_weights": True}
    built = build_model(parse_config({"model": model}, where="test"), vocab_size=9, num_outputs=0)
    weights = list(built.gru.parameters())
    block = torch.cat([weight.detach().flatten() for weight in weights])
    for weight, part in zip(weights, block.split([weight.numel() for weight in weights]), strict=True):  # type: ignore[no-untyped-call]
        weight.data = part.view_as(weight)
    save_weights(built, tmp_path / "weights")
    found, expected = load_file(tmp_path / "weights"), dict(built.named_parameters())
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.slow
def test_an_export_that_fails_loses_nothing(tmp_path: Path) -> None:
    folder, command = tmp_path / "names", words(tmp_path, "names", "run.name=names")
    assert run("python", "train_ddp.py", *command).returncode == 0
    (folder / "result.json").unlink()  # the run has all its steps, but has not ended
    shutil.rmtree(folder / "model")
    (folder / "model" / "config.json").mkdir(parents=True)  # in the way
    done = run("python", "train_ddp.py", *command)
    assert done.returncode == 0, done.stderr
    assert result(folder)["status"] == "finished"
    advice = f"python -m seq.export {folder} --format model"
    assert f"warning: {folder / 'model'}: not written" in done.stderr
    assert advice in done.stderr
    refused = run(*advice.split())
    assert refused.returncode == 2
    assert "cannot be written" in refused.stderr
    (folder / "model" / "config.json").rmdir()
    again = run(*advice.split())
    assert again.stdout.strip() == str(folder / "model"), again.stderr
    assert load_run(folder / "model").step == 12
    assert "## Figures" in (folder / "model" / "README.md").read_text()


@pytest.mark.slow
def test_exported_model(names: Path) -> None:
    from safetensors.torch import load_file

    weights = load_file(names / "model" / "model.safetensors")
    trained = load_run(names, None).model.state_dict()
    assert weights.keys() == trained.keys()
    assert all(torch.equal(weights[name], trained[name]) for name in weights)
    about = json.loads((names / "model" / "config.json").read_text())
    assert about["config"]["model"]["hidden_size"] == 8
    assert len(about["outputs"]["labels"]) == 18
    assert (about["format"], about["lockstep"]) == (1, seq.__version__)
    # Others may read the files, as far as the umask lets them.
    plain = (names / "config.yaml").stat().st_mode
    assert all(path.stat().st_mode == plain for path in (names / "model").iterdir())


def card_of(folder: Path) -> str:
    card = (folder / "model" / "README.md").read_text()
    assert str(folder) not in card
    assert str(Path.cwd()) not in card
    return card


@pytest.mark.slow
def test_the_card_of_a_classifier(names: Path) -> None:
    card, found = card_of(names), result(names)
    about = yaml.safe_load(card.split("---")[1])
    assert (about["library_name"], about["pipeline_tag"]) == ("lockstep", "text-classification")
    assert f"| accuracy | {found['eval']['accuracy']:.4f} |" in card
    labels = json.loads((names / "model" / "config.json").read_text())["outputs"]["labels"]
    for label, row in zip(labels, found["classes"], strict=True):
        line = f"| {label} | {row['precision']:.3f} | {row['recall']:.3f} | {row['f1']:.3f} | {row['support']} |"
        assert line in card
    assert f"{found['num_parameters']:,} parameters" in card
    assert "hashed to 64 rows" in card
    assert "`run.seed=1`" in card
    assert found["data_fingerprint"] in card
    assert "Not for decisions about people" in card


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of the other tasks, in one process."""
    folder = tmp_path_factory.mktemp("others")
    subwords = ("data.tokenizer=subwords", "data.vocab_size=300", "data.lowercase=true")
    rare = ("data.vocab_size=3", "data.min_count=2")
    cases = {"labels": (), "number": subwords, "tagger": rare, "seq2seq": ()}
    run_many(1, [(None, words(folder, kind, f"run.name={kind}", *more)) for kind, more in cases.items()])
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "text"), [("names", "Adylov"), ("labels", "a0"), ("number", "AAA14"), ("tagger", "1 2 3 77 x")]
)
def test_the_cards_script_answers_as_the_model_does(
    names: Path, others: Path, tmp_path: Path, kind: str, text: str
) -> None:
    """With the ONNX file alone: text in, answer out."""
    folder = names if kind == "names" else others / kind
    (script,) = re.findall(r"```python\n(import json.*?)```", card_of(folder), re.DOTALL)
    (tmp_path / "use.py").write_text(script)
    assert len(script.splitlines()) <= (24 if kind == "tagger" else 16)
    assert run("python", "-m", "seq.export", folder, "--output", tmp_path / "model.onnx").returncode == 0
    env = {"PYTHONPATH": "", "PYTHONSAFEPATH": "1"}
    done = run("python", tmp_path / "use.py", tmp_path / "model.onnx", text, env=env)
    assert done.returncode == 0, done.stderr
    said = [line.split() for line in done.stdout.splitlines()]
    model = seq.load(folder)
    if isinstance(model, LoadedTagger):
        assert [tuple(pair) for pair in said] == model.predict(text)
    elif isinstance(model, LoadedRegressor):
        assert float(said[0][0]) == pytest.approx(model.predict(text), rel=1e-4)
    else:
        assert isinstance(model, LoadedClassifier | LoadedMultilabel)
        best = list(model.probabilities(text).items())[:3]
        assert [label for label, _ in said] == [label for label, _ in best]
        assert [float(chance) for _, chance in said] == pytest.approx([chance for _, chance in best], abs=2e-3)


@pytest.mark.slow
def test_the_card_of_an_encoder_decoder(others: Path) -> None:
    card = card_of(others / "seq2seq")
    assert "model.decoder.onnx" in card
    assert "attention" in card
    assert "| wrong outputs |" in card
    assert "| tag | precision |" in card_of(others / "tagger")
    assert "| label | precision |" in card_of(others / "labels")
