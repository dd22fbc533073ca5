"""The promise, on real torchrun processes: the same bits at 1, 2, 4 and 8 processes, killed, resumed and replayed."""

import json
import random
from pathlib import Path

import pytest
import torch

from tests.helpers import run, train
from tests.runs import metrics, result, words

pytestmark = pytest.mark.slow

CASES = {
    # Bidirectional, dropout of every kind, clipping that bites, rows that V does not divide.
    "names": ("names", "model.num_layers=2", "model.dropout=0.2", "train.max_norm=0.1", "batch.rows=5"),
    "names-bf16": ("names", "train.precision=bf16", "model.dropout=0.2", "model.num_layers=2", "batch.tokens=64"),
    "speeches": (
        *("speeches", "model.num_layers=2", "model.dropout=0.2", "train.precision=fp32", "train.max_norm=0.1"),
        *("train.fast_fp32=true", "model.path=scan"),
    ),
    "speeches-bf16": ("speeches", "train.precision=bf16", "train.teacher_forcing=0.5", "batch.tokens=64"),
    # Lanes that end documents in the middle of a step, and the epoch in the middle of the run.
    "stream": (
        *("speeches", "data.unit=document", "batch.order=stream", "batch.rows=3", "batch.window=20"),
        *("model.num_layers=2", "model.dropout=0.2", "train.precision=fp32"),
    ),
    # 99 paragraphs of one document, 1 sequence: fewer than shards.
    "few": ("speeches", "data.unit=window", "data.max_length=4000", "batch.tokens=5000", "train.steps=4"),
}


def few_rows(folder: Path) -> list[str]:
    """Overrides for a small table instead of all names: the evaluations of many runs take their time."""
    rows = folder / "rows.csv"
    rows.write_text("text,label\n" + "".join(f"{'ab'[n % 2] * (n % 7 + 1)}{n},{n % 3}\n" for n in range(120)))
    return ["data.source=csv", f"data.files.train={rows}"]


def invariant(folder: Path) -> dict[str, object]:
    """Everything that a run writes down, but for times, throughputs and where it ran."""
    times = ("tokens_per_second", "world_size", "device", "wall_seconds", "ledger", "goodput", "environment")
    events = [{key: value for key, value in line.items() if key not in times} for line in metrics(folder)]
    # A checkpoint is written in the background, so its line may come a step later.
    events.sort(key=lambda line: (line["event"] == "checkpoint", line["step"]))
    final = {key: value for key, value in result(folder).items() if key not in times}
    samples = folder / "samples.jsonl"
    digests = folder / "digests.jsonl"
    return {
        "events": events,
        "result": final,
        "samples": samples.read_text() if samples.exists() else None,
        "digests": digests.read_text() if digests.exists() else None,
    }


MANY = """
import json, sys
import torch.distributed as dist
import train_ddp

class Stop(Exception):
    pass

original = train_ddp.is_due
for stop, arguments in json.loads(sys.argv[1]):
    def is_due(step, every, total, stop=stop):
        if stop is not None and step > stop:
            raise Stop
        return original(step, every, total)
    train_ddp.is_due = is_due
    try:
        train_ddp.main(arguments)
    except Stop:
        dist.barrier()
        dist.destroy_process_group()
"""


def run_many(folder: Path, world_size: int, commands: list[tuple[int | None, list[str]]]) -> None:
    """One torchrun for many runs, since most of a small run's time is the start of its processes. Each run is
    abandoned on all ranks in the step after `stop`, if that is given."""
    if not commands:
        return
    (folder / "many.py").write_text(MANY)
    torchrun = ("torchrun", "--standalone", f"--nproc_per_node={world_size}")
    done = run(*torchrun, folder / "many.py", json.dumps(commands), env={"PYTHONPATH": "."})
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], dict[str, object]]:
    """Every case at 1, 2, 4 and 8 processes."""
    folder = tmp_path_factory.mktemp("cases")
    found: dict[tuple[str, int], dict[str, object]] = {}
    for size in (1, 2, 4, 8):
        commands = [
            words(folder, kind, "batch.shards=8", "logging.digests=true", *settings, f"run.name={case}-{size}")
            for case, (kind, *settings) in CASES.items()
        ]
        run_many(folder, size, [(None, command) for command in commands])
        found |= {(case, size): invariant(folder / f"{case}-{size}") for case in CASES}
    return found


@pytest.mark.parametrize("case", CASES)
def test_same_bits_at_every_world_size(runs: dict[tuple[str, int], dict[str, object]], case: str) -> None:
    for size in (2, 4, 8):
        for key, value in runs[case, 1].items():
            assert runs[case, size][key] == value, f"{key} at {size} processes"


def test_plain_allreduce_does_not_keep_it_but_trains(tmp_path: Path) -> None:
    """The test above can fail: with DDP's own sum, the last bits depend on the world size."""
    digests = set()
    for world_size in (1, 4):
        command = words(tmp_path, "names", "sync.reduction=allreduce", f"run.name=w{world_size}")
        done = train(*command, "sync.compress=bf16" if world_size == 4 else "run.seed=1", world_size=world_size)
        assert done.returncode == 0, done.stderr
        digests.add(result(tmp_path / f"w{world_size}")["params_sha256"])
    assert len(digests) == 2


STOP_AT = """
import os, sys
import train_ddp
from seq.training import saving
stop, *arguments = sys.argv[1:]
def write(path, content, original=saving.write_checkpoint):
    original(path, content)
    if path.name == f"step-{int(stop):08d}.pt":
        os._exit(9)
saving.write_checkpoint = write
train_ddp.main(arguments)
"""


def test_killed_and_resumed_on_other_world_sizes(tmp_path: Path) -> None:
    """A chain of kills: each start has another world size, and dies right after its first or second checkpoint."""
    script = tmp_path / "stop_at.py"
    script.write_text(STOP_AT)
    command = words(
        tmp_path, "names", *few_rows(tmp_path), "checkpoint.every_steps=1", "model.num_layers=2", "model.dropout=0.2"
    )
    whole = train(*command, "run.name=whole")
    assert whole.returncode == 0, whole.stderr
    expected = invariant(tmp_path / "whole")["result"]
    random.seed(1)
    sizes = [1, 2, 4, 2, 1, 4, 1]
    for stop, world_size in zip(sorted(random.sample(range(1, 12), len(sizes))), sizes, strict=True):
        launcher = ["torchrun", "--standalone", f"--nproc_per_node={world_size}"] if world_size > 1 else ["python"]
        killed = run(*launcher, script, str(stop), *command, "run.name=chain", env={"PYTHONPATH": "."})
        assert killed.returncode in (1, 9), killed.stderr
        assert sorted((tmp_path / "chain" / "checkpoints").iterdir())[-1].name == f"step-{stop:08d}.pt"
    assert train(*command, "run.name=chain", world_size=2).returncode == 0
    assert invariant(tmp_path / "chain")["result"] == expected
    losses = [{line["step"]: line["loss"] for line in metrics(tmp_path / name, "train")} for name in ("whole", "chain")]
    assert losses[0] == losses[1]


def test_stopped_anywhere_and_resumed_on_another_world_size(tmp_path: Path) -> None:
    """20 random cases of (step, processes before, processes after), in both orders, with checkpoints every 3 steps."""
    random.seed(2)
    cases = [(random.randint(3, 11), *random.sample([1, 2, 4], 2)) for _ in range(20)]
    settings = ("checkpoint.every_steps=3", "model.num_layers=2", "model.dropout=0.2")
    orders = {
        "bucketed": words(tmp_path, "names", *settings, *few_rows(tmp_path), "batch.rows=5"),
        "stream": words(tmp_path, *CASES["stream"], *settings),
    }
    order_of = [list(orders)[number % 2] for number in range(len(cases))]
    commands = [[*orders[order], f"run.name=case{number}"] for number, order in enumerate(order_of)]
    run_many(tmp_path, 1, [(None, [*command, f"run.name={order}"]) for order, command in orders.items()])
    for size in (1, 2, 4):
        chosen = [(case[0], command) for case, command in zip(cases, commands, strict=True) if case[1] == size]
        run_many(tmp_path, size, [*chosen])
    assert not list(tmp_path.glob("case*/result.json"))
    for size in (1, 2, 4):
        run_many(
            tmp_path, size, [(None, command) for case, command in zip(cases, commands, strict=True) if case[2] == size]
        )
    for number, (stop, before, after) in enumerate(cases):
        expected = invariant(tmp_path / order_of[number])["result"]
        found = invariant(tmp_path / f"case{number}")["result"]
        assert found == expected, f"{order_of[number]}: stopped after step {stop} on {before}, resumed on {after}"


FLIP = """
import sys, torch
import train_ddp
from seq.training import state
def create(config, corpus, device, initial, original=state.TrainState.create):
    made, calls = original(config, corpus, device, initial), []
    def flip(gradient):
        calls.append(0)
        # Four shards on two ranks: two backward passes a step.
        if torch.distributed.get_rank() == 1 and len(calls) == 2 * 6 + 1:
            gradient = gradient.clone()
            gradient.view(torch.int32)[0, 0] ^= 1 << 20
        return gradient
    made.model.output.weight.register_hook(flip)
    return made
train_ddp.TrainState.create = create
train_ddp.main(sys.argv[1:])
"""


def test_replay_finds_a_flipped_bit(tmp_path: Path) -> None:
    script = tmp_path / "flip.py"
    script.write_text(FLIP)
    command = words(tmp_path, "names", "logging.digests=true", "train.warm_up_largest=false")
    torchrun = ("torchrun", "--standalone", "--nproc_per_node=2")
    done = run(*torchrun, script, *command, "run.name=flipped", env={"PYTHONPATH": "."})
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
        "0: gru.layers.0",
        "gradients, before clipping",
        "output.weight",
    ):
        assert text in inspected.stdout
    assert any(word in inspected.stdout for word in ("bottles", "beer", "wall"))
    wrong = run("python", "-m", "seq.replay", tmp_path / "sound", "--step", "13")
    assert (wrong.returncode, "recorded the steps 1 to 12" in wrong.stderr) == (2, True)


def test_doctor(tmp_path: Path) -> None:
    tiny = (*few_rows(tmp_path), "batch.rows=4", "model.hidden_size=8")
    well = run("python", "-m", "seq.doctor", "batch.shards=2", *tiny)
    assert well.returncode == 0, well.stderr
    assert "lockstep is kept: 2 world sizes, the same bits." in well.stdout
    ill = run("python", "-m", "seq.doctor", "sync.reduction=allreduce", *tiny)
    assert ill.returncode == 1, ill.stderr
    assert "lockstep is NOT kept. With sync.reduction=ordered it is." in ill.stdout
    faulty = run("python", "-m", "seq.doctor", "data.files.train=rows.csv")
    assert faulty.returncode == 2
    assert faulty.stderr.startswith("error: data.files.train is not read with data.source=names")
    assert "Traceback" not in faulty.stderr


def test_checkpoint_holds_nothing_of_a_rank(tmp_path: Path) -> None:
    states = []
    for world_size in (1, 2):
        done = train(*words(tmp_path, "names", f"run.name=w{world_size}"), world_size=world_size)
        assert done.returncode == 0, done.stderr
        state = torch.load(tmp_path / f"w{world_size}" / "checkpoints" / "step-00000012.pt", weights_only=True)
        del state["ledger"], state["config"]["run"]["name"]
        states.append(json.dumps(state, default=lambda tensor: tensor.tolist(), sort_keys=True))
    assert states[0] == states[1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gpu_keeps_lockstep(precision: str) -> None:
    """One process, and two (that share the card if there is one only)."""
    done = run("python", "-m", "seq.doctor", "configs/names.yaml", f"train.precision={precision}")
    assert done.returncode == 0, done.stdout + done.stderr
