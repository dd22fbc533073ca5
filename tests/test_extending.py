"""docs/extending.md: each of its diffs applies, and the extended code trains."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers import ROOT, run
from tests.runs import TINY, losses_by_step, result

pytestmark = [pytest.mark.slow, pytest.mark.extended]

DIFFS = re.findall(r"```diff\n(.*?)```", (ROOT / "docs" / "extending.md").read_text(), flags=re.DOTALL)
RATED = "data.source=csv data.files.train=rated.csv data.label=stars batch.rows=4"
WORDS = {
    "layer": ["model.cell=lstm"],
    "task": ["model.target=count", *RATED.split()],
    "data": ["data.source=functions", "data.max_length=64", "model.ngrams=2"],
    "tracker": ["logging.mlflow=true"],
}


def _check_mlflow(folder: Path) -> None:
    """Two starts are one run, which has what metrics.jsonl has."""
    from mlflow import MlflowClient

    client = MlflowClient(f"file://{folder}/mlruns")
    experiment = client.get_experiment_by_name("lockstep")
    assert experiment is not None
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.params["train.steps"] == "5"
    history = client.get_metric_history(found.info.run_id, "train/loss")
    assert {each.step: each.value for each in history} == losses_by_step(folder / "runs" / "extended")


@pytest.mark.parametrize("what", WORDS)
def test_it_applies_and_trains(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path}/mlruns")  # in place of a server
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    diff = DIFFS[list(WORDS).index(what)]
    changed = [line for line in diff.splitlines() if line[1:].strip() and line[0] in "+-"]
    assert len(changed) - 2 * diff.count("\n+++ ") <= {"task": 46, "tracker": 50}.get(what, 30)
    assert diff.count("\n+++ ") <= (2 if what == "task" else 3)
    for name in ("launch", "seq", "configs", "train_ddp.py"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    subprocess.run(["patch", "-p1"], cwd=tmp_path, input=diff, text=True, check=True)
    (tmp_path / "rated.csv").write_text(
        "text,stars\n" + "".join(f"{'so ' * (n % 5)}good {n},{n % 5 + 1}\n" for n in range(90))
    )
    settings = [*TINY, "model.ngram_buckets=64", "logging.wandb=disabled", "run.name=extended", "train.steps=5"]
    done = run("python", "train_ddp.py", *settings, *WORDS[what], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = result(tmp_path / "runs" / "extended")
    assert found["step"] == 5
    if what == "task":
        assert set(found["eval"]) == {"loss", "mae"}
        assert 0 < found["eval"]["mae"] < 5
        used = run("python", "-m", "seq.predict", "runs/extended", "so good", cwd=tmp_path)
        assert float(used.stdout.split("\t")[1]) > 0, used.stderr
    if what == "data":
        assert found["labels"][0] == "torch.fft"
    if what == "layer":
        _check_layer(tmp_path)
    if what == "tracker":
        (tmp_path / "runs" / "extended" / "result.json").unlink()
        again = run("python", "train_ddp.py", *settings, *WORDS[what], cwd=tmp_path)
        assert again.returncode == 0, again.stderr
        _check_mlflow(tmp_path)


CHECK = """
import torch
from torch import nn
from seq.config import GRUConfig
from seq.models.gru import GRU

for both in (False, True):
    layer = GRU(3, GRUConfig(cell="lstm", hidden_size=5), bidirectional=both)
    plain = nn.LSTM(3, 5, batch_first=True, bidirectional=both)
    plain.load_state_dict(layer.layers[0].state_dict())
    inputs, lengths = torch.randn(4, 7, 3), torch.tensor([7, 2, 5, 1])
    for layer.path in ("auto", "dense", "packed", "scan"):
        outputs, last = layer(inputs, lengths)
        for row, length in enumerate(lengths.tolist()):
            expected, (hidden, cell) = plain(inputs[row : row + 1, :length])
            torch.testing.assert_close(outputs[row, :length], expected[0])
            torch.testing.assert_close(last[:, row], torch.cat([hidden, cell], dim=2)[:, 0])
"""
"""On every path, rows together are what `nn.LSTM` computes one by one."""


def _check_layer(folder: Path) -> None:
    """Also the state that goes from step to step, at every world size and after a resume; and a decoder's."""
    done = run("python", "-c", CHECK, cwd=folder)
    assert done.returncode == 0, done.stderr
    small = [
        "model.cell=lstm",
        "model.hidden_size=16",
        "logging.wandb=disabled",
        "checkpoint.every_steps=2",
        "checkpoint.monitor=null",
    ]
    stream = ["speeches", *small, "model.embedding_dim=8", "evaluation.every_steps=3", "evaluation.window=16"]
    digests = set[str]()
    for name, size in (("one", 1), ("two", 2), ("two", 1)):
        launcher = ["torchrun", "--standalone", f"--nproc_per_node={size}"] if size > 1 else ["python"]
        done = run(*launcher, "train_ddp.py", *stream, f"run.name={name}", "train.steps=6", cwd=folder)
        assert done.returncode == 0, done.stderr
        digests.add(result(folder / "runs" / name)["params_sha256"])
        for file in ("checkpoints/step-00000006.pt", "result.json"):  # the next start goes on from step 4
            (folder / "runs" / name / file).unlink()
    assert len(digests) == 1
    done = run("python", "train_ddp.py", "pronunciation", *small, "train.steps=2", "run.name=decoder", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert run("python", "-m", "seq.predict", "runs/decoder", "hello", cwd=folder).stdout.startswith("hello\t")
