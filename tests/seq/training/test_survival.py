"""What the run writes survives a full disk and a kill; what it computes survives numbers that are not."""

import errno
import json
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seq.config import Config
from seq.config.read import override_config
from seq.data.corpus import prepare_corpus
from seq.data.dataset import Batch
from seq.data.plan import ShardSizes
from seq.errors import RunError, UserError
from seq.log.logger import Logger
from seq.log.wandb import _history
from seq.run.checkpoint import describe_run, load_for_resume, serialize, write_checkpoint
from seq.run.directory import RunDirectory
from seq.run.json_lines import JsonLines, read_lines
from seq.run.saver import CheckpointSaver
from seq.training.memory import naming_what_does_not_fit
from seq.training.state import TrainState
from tests.helpers import run
from tests.runs import result, words


@given(st.lists(st.integers(0, 200), max_size=12), st.data())
def test_lines_survive_torn_writes_and_full_disks(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], data: st.DataObject
) -> None:
    """At a random moment nothing more fits, for a while; in the end every line is there once, in order."""
    path = tmp_path_factory.mktemp("lines") / "metrics.jsonl"
    lines, limit = JsonLines(path), resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        for step, size in enumerate(sizes):
            room = data.draw(st.sampled_from([0, 100, 1000]))
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, limit[1]))
            lines.write({"step": step, "text": "x" * size})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    lines.flush()
    assert [(line["step"], len(line["text"])) for line in read_lines(path)] == list(enumerate(sizes))


def test_a_torn_line_is_ended_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2, "lo')
    JsonLines(path).write({"step": 2, "loss": float("nan")})
    assert read_lines(path) == [{"step": 1}, {"step": 2, "loss": None}]


class Recorder:
    """A sink."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []

    def event(self, event: str, step: int, values: dict[str, Any]) -> None:
        self.events.append((event, step))


def _saver(tmp_path: Path, **settings: Any) -> tuple[CheckpointSaver, Recorder, RunDirectory]:
    recorder, directory = Recorder(), RunDirectory(tmp_path / "run")
    config = Config().checkpoint.model_copy(update=settings)
    return CheckpointSaver(directory, config, Logger([recorder]), is_main=True), recorder, directory  # type: ignore[list-item]


def test_a_save_takes_the_state_as_it_is(tmp_path: Path) -> None:
    saver, recorder, directory = _saver(tmp_path, keep=2)
    weights = torch.zeros(1000)
    for step in (1, 2, 3):
        weights.fill_(step)
        saver.save(step, {"weights": weights})
        weights.fill_(-1)  # the next step goes on at once
    saver.close()
    assert recorder.events == [("checkpoint", step) for step in (1, 2, 3)]
    found = [torch.load(path, weights_only=True)["weights"] for path in directory.to_resume_from()]
    assert [tensor.unique().tolist() for tensor in found] == [[3.0], [2.0]]


def _save_and_close(saver: CheckpointSaver) -> None:
    saver.save(2, {})
    saver.close()


@pytest.mark.parametrize("required", [False, True])
@pytest.mark.parametrize("background", [False, True])
def test_a_save_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, required: bool, background: bool) -> None:
    saver, recorder, directory = _saver(tmp_path, required=required, background=background)
    saver.save(1, {})
    saver.report(wait=True)

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(saving, "write_checkpoint", fail)
    if required:
        with pytest.raises(RunError, match=r"step 2 could not be saved: No space left on device"):
            _save_and_close(saver)
        return
    saver.save(2, {})
    saver.report(wait=True)
    monkeypatch.undo()
    saver.save(3, {})
    saver.close()
    assert recorder.events == [("checkpoint", 1), ("checkpoint_failed", 2), ("checkpoint", 3)]
    assert [path.name for path in directory.to_resume_from()] == ["step-00000003.pt", "step-00000001.pt"]


def test_a_second_run_in_the_same_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seq.training.run_directory.LOCK_SECONDS", 0.1)
    first, second = RunDirectory(tmp_path / "run"), RunDirectory(tmp_path / "run")
    with first.locked_by(True):
        with second.locked_by(False):
            pass
        with pytest.raises(UserError, match="another process is running there"), second.locked_by(True):
            pass
        with RunDirectory(tmp_path / "other").locked_by(True):
            pass
    with second.locked_by(True):
        pass


def test_memory_that_is_not_there() -> None:
    batch = Batch(
        torch.zeros(300, 40, dtype=torch.int64),
        torch.ones(300),
        torch.zeros(300),
        6,
        2,
        300,
        ShardSizes(*np.ones((3, 4), np.int64)),
    )
    with pytest.raises(RunError) as raised, naming_what_does_not_fit(batch):
        torch.empty(1 << 50)
    for text in ("on cpu in shard 2 of step 7", "300 rows x 40 time steps", "batch.tokens (to less than 12000)"):
        assert text in str(raised.value)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), naming_what_does_not_fit(batch):
        torch.zeros(2, 3) @ torch.zeros(2, 3)


def test_history_for_wandb_has_each_step_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = JsonLines(path)
    for start in (0, 2):
        for step in range(start + 1, start + 4):
            lines.write({"event": "train", "step": step, "loss": step + start / 10, "wall_seconds": 1.0})
        lines.write({"event": "eval", "step": start + 3, "split": "validation", "loss": 9.0, "wall_seconds": 1.0})
        lines.write({"event": "resume", "step": 2})
    assert _history(path, 4) == {
        1: {"train/loss": 1.0},
        2: {"train/loss": 2.0},
        3: {"train/loss": 3.2, "validation/loss": 9.0},
        4: {"train/loss": 4.2},
    }


BAD = """
import gc, json, os, sys
import torch.distributed as dist
import train_ddp
from seq.errors import RunError
from seq.training import step as steps
now = ()
def seed(seed, step, shard, original=steps.seed_shard):
    global now
    now = (step, shard)
    original(seed, step, shard)
def loss(logits, targets, original=steps.loss_sum):
    return original(logits, targets) * (float("inf") if now in bad else 1.0)
steps.seed_shard, steps.loss_sum = seed, loss
for bad, arguments in json.loads(sys.argv[1]):
    bad = [tuple(place) for place in bad]
    try:
        train_ddp.main(arguments)
    except (RunError, SystemExit) as error:
        print("ended:", error, flush=True)
    if dist.is_initialized():  # the error is gone, and with its frames DDP's reducer, which must not outlive the group
        gc.collect()
        dist.barrier()
        dist.destroy_process_group()
"""


@pytest.mark.slow
def test_bad_steps_are_skipped_by_all_ranks_and_counted(tmp_path: Path) -> None:
    """Infinite losses planted at (step, shard), on one and on two processes; fp32, and fp16 with its own scale."""
    script = tmp_path / "bad.py"
    script.write_text(BAD)
    cases = {
        "one": [[5, 1]],
        "fp16": [[5, 1]],
        "row": [[5, 0], [6, 1], [7, 2], [8, 3]],
        "too-many": [[5, 0], [6, 1], [7, 2], [8, 3], [9, 0]],
        "none": [],
    }
    for size in (1, 2):
        commands = [
            (bad, words(tmp_path, "speeches", "train.max_bad_steps=4", f"run.name={name}-{size}", *precision))
            for name, bad in cases.items()
            for precision in [["train.precision=" + ("fp16" if name == "fp16" else "fp32")]]
        ]
        done = run(
            *("torchrun", "--standalone", f"--nproc_per_node={size}", script, json.dumps(commands)),
            env={"PYTHONPATH": "."},
        )
        assert done.returncode == 0, done.stderr
        assert "ended: the loss or gradient of 5 steps in a row was not finite, up to step 10" in done.stdout
        assert f"their batches are in {tmp_path / f'too-many-{size}'}/bad_steps" in done.stdout
    digests = {
        name: {result(tmp_path / f"{name}-{size}")["params_sha256"] for size in (1, 2)}
        for name in cases
        if name != "too-many"
    }
    assert all(len(found) == 1 for found in digests.values())
    assert len({*digests["one"], *digests["row"], *digests["none"]}) == 3
    counts = {name: result(tmp_path / f"{name}-2")["bad_steps"] for name in digests}
    assert counts == {"one": 1, "fp16": 1, "row": 4, "none": 0}
    about = json.loads((tmp_path / "one-2" / "bad_steps" / "step-00000006.json").read_text())
    assert [shard["loss"] == "inf" for shard in about["shards"]] == [False, True, False, False]
    assert all("of beer" in row["text"] or len(row["text"]) < 24 for shard in about["shards"] for row in shard["rows"])
    inspected = run("python", "-m", "seq.replay", tmp_path / "one-2", "--step", "6", "--inspect", stdin="")
    assert inspected.returncode == 0, inspected.stderr
    assert about["shards"][1]["rows"][0]["text"][2:8] in inspected.stdout
    assert not (tmp_path / "too-many-2" / "result.json").exists()


@pytest.mark.slow
def test_a_damaged_newest_checkpoint(tmp_path: Path) -> None:
    """It is set aside, and the one before it used; where none is whole, nothing is begun anew silently."""
    command = words(tmp_path, "names", "run.name=run", "train.warm_up_largest=false", "checkpoint.background=false")
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
    corpus = prepare_corpus(config.data, task="classify")
    state = TrainState.create(config, corpus, torch.device("cpu"))
    path = tmp_path / "step-00000000.pt"
    write_checkpoint(path, serialize(state.state_dict() | describe_run(config, corpus)))
    assert load_for_resume([path], config, corpus) is not None
    rows.write_text(rows.read_text().replace(*(("ab7,", "ba7,") if change == "a row" else (",2", ",3"))))
    with pytest.raises(UserError, match=r"was trained on other data than data\.source holds now"):
        load_for_resume([path], config, prepare_corpus(config.data, task="classify"))
    assert len(corpus.splits["train"].sequences.values) > 0  # what is in use is a copy of its own
