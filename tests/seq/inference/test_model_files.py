import json
import shutil
from pathlib import Path

import pytest
import torch

from seq.config.read import parse_config
from seq.inference.model_files import save_weights
from seq.inference.trained import load_run
from seq.models import build_model
from tests.helpers import run
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
    assert "Figures" in (folder / "model" / "README.md").read_text()


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
    card = (names / "model" / "README.md").read_text()
    assert f"accuracy {result(names)['eval']['accuracy']:.4f}" in card
    assert "Not for decisions about people" in card
