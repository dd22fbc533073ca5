from pathlib import Path

import pytest
import torch

from seq.run.trained import load_run
from tests.helpers import run
from tests.seq.inference.test_formats import _run_onnx, compare, uneven


@pytest.mark.slow
def test_the_program(names: Path, tmp_path: Path) -> None:
    done = run("python", "-m", "seq.export", names, "--format", "onnx", "--output", tmp_path / "names.onnx")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "names.onnx").stat().st_size > 1000
    assert done.stdout.strip() == str(tmp_path / "names.onnx")
    for kind in ("onnx", "safetensors"):
        for output in ("/proc/none/x", str(tmp_path)):
            nowhere = run("python", "-m", "seq.export", names, "--format", kind, "--output", output)
            assert nowhere.returncode == 2
            assert "cannot be written" in nowhere.stderr
    # Another checkpoint's weights do not take the place of the model's; an exported folder is exported into itself.
    earlier = run("python", "-m", "seq.export", names, "--format", "safetensors", "--checkpoint", "step-00000008.pt")
    assert earlier.stdout.strip() == str(names / "model" / "step-00000008.safetensors")
    own = run("python", "-m", "seq.export", names / "model", "--format", "onnx")
    assert own.stdout.strip() == str(names / "model" / "model.onnx")


@pytest.mark.slow
def test_a_model_by_label_comes_with_its_states(generator: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    done = run("python", "-m", "seq.export", generator, "--output", tmp_path / "generator.onnx")
    assert done.returncode == 0, done.stderr
    model = load_run(generator).model
    states = load_file(tmp_path / "generator.labels.safetensors")["states"]
    inputs, lengths = uneven([5, 3])
    given = {"inputs": inputs, "lengths": lengths, "hidden": states[[4, 7]].transpose(0, 1).contiguous()}
    given["preceding"] = torch.zeros(2, 3, dtype=torch.int64)  # the model's n-grams are of up to four tokens
    want = model(inputs, lengths, labels=torch.tensor([4, 7]))
    compare(_run_onnx(tmp_path / "generator.onnx", given), want, lengths)
