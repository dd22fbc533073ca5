import json
from pathlib import Path

import pytest
import torch

from seq.inference.trained import load_run
from tests.runs import result

pytestmark = pytest.mark.slow


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
    assert f"accuracy {result(names)['eval']['accuracy']:.4f}" in card
    assert "Not for decisions about people" in card
