"""Replays find a flipped bit, and confirm a sound run."""

from pathlib import Path

import pytest

from tests.helpers import run, train
from tests.runs import words

pytestmark = pytest.mark.slow


def test_replay_finds_a_flipped_bit(tmp_path: Path) -> None:
    command = words(tmp_path, "names", "logging.digests=true", "train.memory_check=false", "run.pass_tokens=1")
    torchrun = ("torchrun", "--standalone", "--nproc_per_node=2")
    # Four shards on two ranks are two backward passes a step, if a pass has one shard: this is the first one of step 7.
    done = run(*torchrun, "-m", "tests.faults", "flip_bit", "13", *command, "run.name=flipped")
    assert done.returncode == 0, done.stderr
    # Keep the beginning only, so that the replay starts there.
    for path in (tmp_path / "flipped" / "checkpoints").iterdir():
        path.unlink()
    replayed = run("python", "-m", "seq.replay", tmp_path / "flipped", "--step", "9")
    assert replayed.returncode == 1, replayed.stderr
    assert "step 6 as recorded" in replayed.stdout
    assert "step 7 differs: gradient of output.weight (and 0 more of 12)" in replayed.stdout
    assert "step 8" not in replayed.stdout


def test_replay_of_a_sound_run_and_inspect(tmp_path: Path) -> None:
    done = train(*words(tmp_path, "speeches", "run.name=sound", "logging.digests=true"), world_size=2)
    assert done.returncode == 0, done.stderr
    replayed = run("python", "-m", "seq.replay", tmp_path / "sound", "--step", "12")
    assert replayed.returncode == 0, replayed.stderr
    assert "from step 8, step-00000008.pt" in replayed.stdout
    assert [f"step {step} as recorded" in replayed.stdout for step in (8, 9, 12)] == [False, True, True]
    inspected = run("python", "-m", "seq.replay", tmp_path / "sound", "--step", "10", "--inspect", stdin="")
    assert inspected.returncode == 0, inspected.stderr
    for text in (
        "shard 3:",
        "activations",
        "0: gru ",
        "gradients, before clipping",
        "output.weight",
    ):
        assert text in inspected.stdout
    assert any(word in inspected.stdout for word in ("bottles", "beer", "wall"))
    wrong = run("python", "-m", "seq.replay", tmp_path / "sound", "--step", "13")
    assert (wrong.returncode, "recorded the steps 1 to 12" in wrong.stderr) == (2, True)
