"""Checkpoints are complete, checked, and of this run."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from seq.config import Config
from seq.config.read import override_config
from seq.data.corpus import prepare_corpus
from seq.errors import UserError
from seq.run import checkpoint
from seq.run.checkpoint import (
    describe_run,
    fingerprint,
    load_checkpoint,
    load_for_resume,
    params_sha256,
    serialize,
    write_checkpoint,
)
from seq.run.checkpoints import checkpoints_in, delete_old
from seq.tasks import TASKS
from seq.training.state import TrainState
from tests.helpers import alone, run
from tests.runs import result, words


@pytest.mark.slow
def test_a_damaged_newest_checkpoint(tmp_path: Path) -> None:
    """It is set aside, and the one before it used; where none is whole, nothing is begun anew silently."""
    command = words(tmp_path, "names", "run.name=run", "train.memory_check=false", "checkpoint.background=false")
    assert run("python", "train_ddp.py", *command).returncode == 0
    folder = tmp_path / "run"
    digest = result(folder)["params_sha256"]
    (folder / "result.json").unlink()
    newest = folder / "checkpoints" / "step-00000012.pt"
    newest.write_bytes(newest.read_bytes()[:-100])
    # Background saving and the warm-up are no part of the run's identity.
    done = run("python", "train_ddp.py", *words(tmp_path, "names", "run.name=run"))
    assert done.returncode == 0, done.stderr
    assert "step-00000012.pt is damaged, and set aside; going on from step-00000008.pt" in done.stderr
    assert (folder / "checkpoints" / "step-00000012.pt.damaged").exists()
    assert result(folder)["params_sha256"] == digest
    (folder / "result.json").unlink()
    for path in (folder / "checkpoints").glob("*.pt"):
        path.write_bytes(b"PK")
    done = run("python", "train_ddp.py", *command)
    assert (done.returncode, "damaged or no checkpoint" in done.stderr) == (2, True)


@pytest.mark.parametrize("change", ["a row", "a label"])
def test_a_corpus_that_changed_since_the_checkpoint(tmp_path: Path, change: str) -> None:
    """Another text, and the same texts with another set of labels."""
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\n" + "".join(f"ab{n},{n % 3}\n" for n in range(40)))
    words = ("data.source=csv", f"data.files.train={rows}", f"data.cache_dir={tmp_path / 'cache'}")
    config = override_config(Config(), words, where="test")
    corpus = prepare_corpus(config.data, task=TASKS["classification"])
    path = tmp_path / "step-00000000.pt"
    with alone():
        state = TrainState.create(config, corpus, torch.device("cpu")).state_dict()
    write_checkpoint(path, serialize(state | describe_run(config, corpus)))
    assert load_for_resume([path], config, corpus) is not None
    rows.write_text(rows.read_text().replace(*(("ab7,", "ba7,") if change == "a row" else (",2", ",3"))))
    with pytest.raises(UserError, match=r"was trained on other data than data\.source holds now"):
        load_for_resume([path], config, prepare_corpus(config.data, task=TASKS["classification"]))
    assert len(corpus.splits["train"].sequences.values) > 0  # what is in use is a copy of its own


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    write_checkpoint(path, serialize(state))


def test_round_trip_and_oldest_go(tmp_path: Path) -> None:
    for step in (5, 10, 200):
        save_checkpoint(tmp_path / f"step-{step:08d}.pt", {"step": step, "weights": torch.arange(3)})
    (tmp_path / "step-00000300.part-1").touch()
    delete_old(tmp_path, keep=2)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step-00000010.pt", "step-00000200.pt"]
    state = load_checkpoint(checkpoints_in(tmp_path)[-1])
    assert state["step"] == 200
    assert state["weights"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_damage_is_found(tmp_path: Path, damage: str, where: float) -> None:
    path, weights = tmp_path / "step-00000001.pt", torch.randn(1000)
    save_checkpoint(path, {"weights": weights})
    content = bytearray(path.read_bytes())
    place = content.index(weights.numpy().tobytes()) + int(4000 * where)
    content[place] ^= 1
    path.write_bytes(content[:place] if damage == "cut" else content)
    with pytest.raises(UserError, match="damaged"):
        load_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04"])
def test_what_is_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged or no checkpoint"):
        load_checkpoint(path)


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    torch.save({"format": 1, "evil": Evil()}, tmp_path / "x.pt")
    with pytest.raises(UserError):
        load_checkpoint(tmp_path / "x.pt")
    assert not (tmp_path / "ran").exists()


def test_a_failed_save_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "step-00000001.pt"
    save_checkpoint(path, {"step": 1})

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(checkpoint, "_verify", fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(path, {"step": 2})
    monkeypatch.undo()
    assert load_checkpoint(path)["step"] == 1
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_digest_is_of_names_and_values() -> None:
    torch.manual_seed(0)
    model = nn.Linear(2, 2)
    digest = params_sha256(model)
    assert params_sha256(nn.Linear(2, 2)) != digest
    with torch.no_grad():
        model.weight[0, 0] = torch.nextafter(model.weight[0, 0], torch.tensor(9.0))
    assert params_sha256(model) != digest


def test_ranks_that_begin_with_other_weights_are_noticed(tmp_path: Path) -> None:
    """As where `train.init_from` is another run on another host."""
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\n" + "".join(f"ab{n},{n % 3}\n" for n in range(40)))
    words = ("data.source=csv", f"data.files.train={rows}", f"data.cache_dir={tmp_path / 'cache'}")
    config = override_config(Config(), words, where="test")
    corpus = prepare_corpus(config.data, task=TASKS["classification"])
    with alone():
        model = TrainState.create(config, corpus, torch.device("cpu")).model
    before = fingerprint(config, corpus, 0, model)
    assert before == fingerprint(config, corpus, 0, model) != fingerprint(config, corpus, 1, model)
    with torch.no_grad():
        model.output.bias[0] += 1
    assert fingerprint(config, corpus, 0, model) != before
