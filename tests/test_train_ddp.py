"""The main job on real processes: every launcher, every world size, resume, refusals."""

import csv
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import run, train
from tests.runs import losses_by_step, metrics, result, words
from tests.wandb_file import wandb_history

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["names", "speeches"])
def test_what_a_run_writes(kind: str, names: Path, speeches: Path) -> None:
    """That it is equal at every number of processes, tests/test_same_bits.py tells."""
    folder, world_size = {"names": (names, 2), "speeches": (speeches, 1)}[kind]
    found = result(folder)
    assert (found["status"], found["step"], found["world_size"]) == ("finished", 12, world_size)
    assert sum(found["ledger"].values()) == pytest.approx(found["wall_seconds"])
    assert set(found["eval"]) == (
        {"loss", "accuracy", "macro_f1"} if kind == "names" else {"loss", "bits_per_char", "perplexity"}
    )
    assert len(metrics(folder, "train")) == 12
    events = [line["event"] for line in metrics(folder)]
    assert (events[0], events[-1]) == ("start", "finish")
    assert {"train", "eval", "checkpoint"} <= set(events)
    assert len(list((folder / "checkpoints").iterdir())) == 2
    assert {path.name for path in (folder / "model").iterdir()} == {
        "README.md",
        *("model.safetensors", "config.json", "tokenizer.json"),
    }
    assert (folder / "samples.jsonl").exists() == (kind == "speeches")


def test_resumed_in_mid_epoch_on_another_world_size(tmp_path: Path) -> None:
    whole = train(*words(tmp_path, "names", "run.name=whole"))
    assert whole.returncode == 0, whole.stderr
    command = words(tmp_path, "names", "run.name=parts", "logging.wandb=offline")
    killed = run("python", "-m", "tests.faults", "die_after_save", "4", *command)
    assert killed.returncode == 9
    folder = tmp_path / "parts"
    assert not (folder / "result.json").exists()
    resumed = train(*command, world_size=2)
    assert resumed.returncode == 0, resumed.stderr
    assert [line["step"] for line in metrics(folder, "resume")] == [4]
    wandb_ids = [path.name.rpartition("-")[2] for path in (folder / "wandb").glob("offline-run-*")]
    assert wandb_ids == [(folder / "wandb-id").read_text()]
    assert [row["step"] for row in wandb_history(folder) if "train/loss" in row] == list(range(1, 13))
    assert losses_by_step(folder) == losses_by_step(tmp_path / "whole")
    assert result(folder)["tokens_seen"] == result(tmp_path / "whole")["tokens_seen"]

    before = contents(folder)
    again = train(*command)
    assert again.returncode == 0
    assert "already finished at step 12" in again.stdout
    other = train(*command, "optimizer.lr=1.0")
    assert other.returncode == 2
    assert "optimizer.lr: 0.003 there, 1.0 here" in other.stderr
    assert before == contents(folder)

    fresh = train(*command, "optimizer.lr=1e-3", "--fresh")
    assert fresh.returncode == 0, fresh.stderr
    assert {path: (tmp_path / "parts.old-1" / path.relative_to(folder)).read_bytes() for path in before} == before


def contents(folder: Path) -> dict[Path, bytes]:
    """All files but the logs of W&B's service, which ends after the run."""
    files = [path for path in folder.rglob("*") if path.is_file() and "logs" not in path.parts]
    return {path: path.read_bytes() for path in files}


def test_the_logged_loss_is_the_mean_over_all_targets_since_the_last_line(names: Path, tmp_path: Path) -> None:
    done = train(*words(tmp_path, "names", "logging.every_steps=5", "run.name=five"))
    assert done.returncode == 0, done.stderr
    each = metrics(names, "train")
    assert [line["loss"] for line in each] == pytest.approx([line["step_loss"] for line in each], rel=1e-12)
    seen = np.array([line["examples_seen"] for line in each])
    sums = np.cumsum(np.diff(seen, prepend=0) * [line["step_loss"] for line in each])
    found = metrics(tmp_path / "five", "train")
    assert [line["step"] for line in found] == [5, 10, 12]
    means = np.diff(sums[[4, 9, 11]], prepend=0) / np.diff(seen[[4, 9, 11]], prepend=0)
    assert [line["loss"] for line in found] == pytest.approx(list(means), rel=1e-12)
    assert [line["step_loss"] for line in found] == [each[place]["step_loss"] for place in (4, 9, 11)]


def test_srun_without_torchrun(tmp_path: Path) -> None:
    """Two tasks as srun starts them: its variables, and nothing of torchrun's."""

    def task(rank: int) -> int:
        env = {
            "SLURM_PROCID": str(rank),
            "SLURM_LOCALID": str(rank),
            "SLURM_STEP_NUM_TASKS": "2",
            "SLURM_JOB_ID": str(tmp_path.stat().st_ino),
            "SLURM_LAUNCH_NODE_IPADDR": "127.0.0.1",
        }
        return train(*words(tmp_path, "names", "run.name=srun"), env=env).returncode

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(task, (0, 1))) == [0, 0]
    assert result(tmp_path / "srun")["world_size"] == 2


def test_two_nodes(tmp_path: Path) -> None:
    """Two torchrun agents, as on two machines; here both are this one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def node(rank: int) -> int:
        agents = ("--nnodes=2", f"--node-rank={rank}", "--master-addr=127.0.0.1", f"--master-port={port}")
        command = words(tmp_path, "names", "run.name=nodes")
        return run("torchrun", *agents, "--nproc_per_node=1", "train_ddp.py", *command).returncode

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(node, (0, 1))) == [0, 0]
    assert result(tmp_path / "nodes")["world_size"] == 2


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_precisions(tmp_path: Path, precision: str) -> None:
    done = train(*words(tmp_path, "speeches", f"train.precision={precision}", f"run.name={precision}"))
    assert done.returncode == 0, done.stderr
    losses = [line["loss"] for line in metrics(tmp_path / precision, "train")]
    assert losses[-1] < losses[0]


@pytest.mark.extended
def test_wandb_that_cannot_be_reached(tmp_path: Path) -> None:
    nobody = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "0" * 40}
    done = train(*words(tmp_path, "names", "logging.wandb=online", "run.name=online"), env=nobody)
    assert done.returncode == 0, done.stderr
    assert "the run goes on with logging.wandb=offline" in done.stdout
    assert list((tmp_path / "online" / "wandb").glob("offline-run-*"))
    assert "0" * 40 not in done.stdout + done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"0" * 40 in path.read_bytes()]


def test_free_running(tmp_path: Path) -> None:
    done = train(*words(tmp_path, "speeches", "train.teacher_forcing=0.0"), world_size=2)
    assert done.returncode == 0, done.stderr


def _refused(*command: str | Path, world_size: int = 1) -> str:
    done = train(*command, world_size=world_size)
    assert done.returncode == (2 if world_size == 1 else 1)
    # torchrun shows where it raised; our files must not show up.
    assert 'train_ddp.py", line' not in done.stderr
    return done.stderr


def test_faults_end_with_2_before_anything_is_written(tmp_path: Path) -> None:
    out = f"run.output_dir={tmp_path / 'runs'}"
    assert "no such config file" in _refused("configs/nmes.yaml", out)
    assert "optimizer.lrr: unknown key; did you mean optimizer.lr?" in _refused("optimizer.lrr=1", out)
    assert "one config at a time" in _refused("configs/names.yaml", "configs/speeches.yaml", out)
    with (tmp_path / "rows.csv").open("w") as file:
        csv.writer(file).writerows([("name", "origin"), ("", "x"), ("B", "y")])
    rows = ("data.source=csv", f"data.files.train={tmp_path / 'rows.csv'}", "data.label=origin")
    assert "no column 'text'" in _refused(*rows, out)
    assert "train row 1: the text is empty" in _refused(*rows, "data.text=name", out)
    assert not (tmp_path / "runs").exists()


def test_no_more_processes_than_shards(tmp_path: Path) -> None:
    message = _refused(f"run.output_dir={tmp_path}", world_size=5)
    assert "5 processes cannot share batch.shards=4; start at most 4" in message
    assert message.count("error: 5 processes") == 1


def test_help_names_every_key() -> None:
    shown = run("python", "train_ddp.py", "--help")
    assert shown.returncode == 0
    for key in ("run.seed", "data.too_long", "model.tie_weights", "train.teacher_forcing", "logging.wandb"):
        assert f"\n  {key}  (default " in shown.stdout
