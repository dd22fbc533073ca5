import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from seq.config import Config
from seq.config.read import override_config
from seq.errors import UserError
from seq.run import checkpoint
from seq.run.checkpoint import checkpoints_in, delete_old, load_checkpoint, params_sha256, serialize, write_checkpoint
from seq.run.directory import RunDirectory


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


ENDED = {"status": "finished", "step": 1, "eval": {}}


def _directory(tmp_path: Path, *overrides: str, fresh: bool = False) -> tuple[RunDirectory, Config]:
    config = override_config(Config(), [f"run.output_dir={tmp_path}", *overrides], where="test")
    return RunDirectory.of(config, fresh=fresh), config


def test_another_config_is_refused_with_the_keys_that_differ(tmp_path: Path) -> None:
    directory, config = _directory(tmp_path)
    directory.check(config)
    directory.begin(config, None)
    directory.check(_directory(tmp_path, "logging.every_steps=1")[1])
    with pytest.raises(UserError) as raised:
        directory.check(_directory(tmp_path, "optimizer.lr=1.0", "model.hidden_size=7")[1])
    assert "\n  model.hidden_size: 128 there, 7 here\n  optimizer.lr: 0.002 there, 1.0 here" in str(raised.value)


def test_fresh_keeps_the_old_run_beside(tmp_path: Path) -> None:
    for number in (1, 2):
        directory, config = _directory(tmp_path)
        directory.begin(config, None)
        directory.write_result(ENDED | {"number": number})
        directory, config = _directory(tmp_path, fresh=True)
        directory.check(config)
        assert directory.read_result() is None
        directory.begin(config, None)
    kept = [RunDirectory(tmp_path / f"run.old-{number}").read_result() for number in (1, 2)]
    assert kept == [ENDED | {"number": 1}, ENDED | {"number": 2}]


def test_what_is_no_run_directory(tmp_path: Path) -> None:
    directory, config = _directory(tmp_path)
    directory.path.mkdir()
    (directory.path / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"holds files, but no run \(no config.yaml\)"):
        directory.check(config)
    (tmp_path / "file").touch()
    blocked, config = _directory(tmp_path / "file")
    with pytest.raises(UserError, match="cannot be written"):
        blocked.check(config)
