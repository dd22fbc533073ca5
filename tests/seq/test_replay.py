"""Replays find a flipped bit, and confirm a sound run."""

import json
import re
from pathlib import Path

import pytest

from tests.helpers import run, run_many, train
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
    assert "step 7 differs, recorded and replayed: gradient of output.weight (and 0 more of 12)" in replayed.stdout
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


def _against(folder: Path, one: str, other: str) -> tuple[int, str]:
    done = run("python", "-m", "seq.replay", folder / one, "--against", folder / other)
    return done.returncode, done.stdout or done.stderr


def test_the_first_difference_of_two_runs(tmp_path: Path) -> None:
    """In the data, the loss, the update, the first weights, and the machine of one of them."""
    common = ("logging.digests=true", "model.output_dropout=0.2")
    runs = {
        "sound": ("speeches",),
        "again": ("speeches",),
        "schedule": ("speeches", "train.steps=12", "optimizer.lr=0.001", "optimizer.warmup_steps=6"),
        "dropout": ("speeches", "model.output_dropout=0.3"),
        "seed": ("speeches", "run.seed=2"),
        "order": ("speeches", "batch.rows=7"),
    }
    run_many(
        1, [(None, words(tmp_path, kind, *common, *more, f"run.name={name}")) for name, (kind, *more) in runs.items()]
    )
    assert _against(tmp_path, "sound", "again") == (0, "from step 8: the same state\nthe same bits up to step 12\n")
    code, said = _against(tmp_path, "sound", "schedule")
    assert code == 1
    assert "their configs differ in optimizer.lr, optimizer.warmup_steps" in said
    assert re.search(r"step 1: after equal gradients, the weight \S+ at \[[\d, ]+\]: \S+ and \S+; \d+ of", said)
    assert "step 1: shard 0: the loss at [0]: " in _against(tmp_path, "sound", "dropout")[1]
    assert "before the first step: embedding.weight at [1, 0]: " in _against(tmp_path, "sound", "seed")[1]
    assert "step 1: shard 0: inputs: (7, 24) and (5, 24)" in _against(tmp_path, "sound", "order")[1]
    digests = tmp_path / "again" / "digests.jsonl"
    lines = digests.read_text().splitlines()
    lines[9] = lines[9].replace(json.loads(lines[9])["gradients"]["output.bias"], "0123456789abcdef")
    digests.write_text("\n".join(lines) + "\n")
    code, said = _against(tmp_path, "sound", "again")
    assert (code, "step 10: replayed here, both runs give the same bits, but" in said) == (1, True)
    assert "again recorded others (gradient of output.bias (and 0 more of" in said
    code, said = _against(tmp_path, "sound", "nothing")
    assert (code, "nothing: no run" in said) == (2, True), said
