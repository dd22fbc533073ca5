"""The same bits on GPUs: one card with one rank, ranks that share a card, and NCCL where there are several cards.

`pytest -m gpu` on a machine with a GPU. Elsewhere tests/test_pretend_gpu.py is what there is.
"""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from launch.context import describe_launch
from launch.group import process_group
from launch.seeding import set_numerics
from seq.config import GRUConfig
from seq.config.model import Path as GRUPath
from seq.config.read import load_config
from seq.data.corpus import prepare_corpus
from seq.data.loader import BatchLoader
from seq.models.gru import GRU, has_bf16_gru
from seq.tasks import task_of
from seq.training.precision import configure_numerics
from seq.training.step import Trainer
from tests.helpers import run, train
from tests.runs import few_rows, invariant, metrics, result, words

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.filterwarnings("ignore:Synchronization debug mode"),
]
CHECKS = ("logging.digests=true", "run.threads=1", "sync.check_every=1")
STREAM = ("data.unit=document", "batch.order=stateful", "batch.rows=3", "batch.bptt=20")
KINDS = {
    "names": ("names", "model.num_layers=2", "model.dropout=0.2", "batch.rows=5"),
    "names, bf16": ("names", "train.precision=bf16"),
    "speeches, fp32": ("speeches", "train.precision=fp32", "model.num_layers=2", "model.dropout=0.2"),
    "speeches, tf32": ("speeches", "train.precision=tf32"),
    "speeches, fp16": ("speeches", "train.precision=fp16"),
    "stream, bf16": ("speeches", *STREAM, "train.precision=bf16"),
    "free running": ("speeches", "train.precision=fp32", "train.teacher_forcing=0.5"),
    "generator": ("name_generator",),
    "labels": ("labels",),
    "number": ("number",),
    "tagger": ("tagger", "model.num_layers=2", "model.dropout=0.2"),
    "tagger, bf16": ("tagger", "train.precision=bf16"),
    "seq2seq": ("seq2seq", "model.num_layers=2", "model.dropout=0.2", "train.label_smoothing=0.1"),
    "seq2seq, bf16": ("seq2seq", "train.precision=bf16", "train.teacher_forcing_end=0.2", "evaluation.beam=2"),
}
USE = {
    "names": ("seq.predict", "ab3"),
    "generator": ("seq.generate", "--label", "0"),
    "tagger": ("seq.predict", "1 2 3"),
    "seq2seq": ("seq.predict", "123", "--beam", "3"),
}


def command(folder: Path, kind: str) -> list[str]:
    base, *more = KINDS[kind]
    table = few_rows(folder) if base in ("names", "name_generator") else ()
    return [*words(folder, base, *more, *CHECKS), *table]


def trained(folder: Path, kind: str, name: str, *more: str, world_size: int = 1) -> Path:
    done = train(*command(folder, kind), *more, f"run.name={name}", world_size=world_size)
    assert done.returncode == 0, done.stderr
    return folder / name


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bits_at_every_world_size(kind: str, tmp_path: Path) -> None:
    """Ranks get a card each by NCCL while there are enough, and else share them by gloo."""
    runs = [invariant(trained(tmp_path, kind, f"w{size}", world_size=size)) for size in (1, 2, 4)]
    assert runs[0] == runs[1]
    assert runs[0] == runs[2]


@pytest.mark.parametrize("kind", ["names", "stream, bf16", "seq2seq"])
def test_killed_resumed_and_replayed(kind: str, tmp_path: Path) -> None:
    """Each start has another number of processes and dies right after a checkpoint."""
    every = ("checkpoint.every_steps=1", "checkpoint.keep=20")
    whole = trained(tmp_path, kind, "whole", *every)
    for stop, size in ((1, 2), (4, 1), (7, 2)):
        launcher = ["torchrun", "--standalone", f"--nproc_per_node={size}"] if size > 1 else ["python"]
        chain = (*command(tmp_path, kind), *every, "run.name=chain")
        killed = run(*launcher, "-m", "tests.faults", "die_after_save", str(stop), *chain)
        assert killed.returncode in (1, 9), killed.stderr
    assert result(trained(tmp_path, kind, "chain", *every))["params_sha256"] == result(whole)["params_sha256"]
    replayed = run("python", "-m", "seq.replay", whole, "--step", "12")
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr


@pytest.mark.parametrize("kind", ["names", "speeches, fp32", "generator", "number", "tagger", "seq2seq"])
def test_close_to_the_cpu(kind: str, tmp_path: Path) -> None:
    """Other bits, the same training: the losses of fp32 agree to a few parts in a thousand after 12 steps. Dropout is off, since
    each device has its own random numbers."""
    own = {"names": (), "number": (), "seq2seq": ("attention_dropout",)}.get(kind, ("ngram_dropout",))
    kinds = ("dropout", "token_dropout", "embedding_dropout", "output_dropout", *own)
    off = [f"model.{name}=0" for name in kinds]
    there = trained(tmp_path, kind, "gpu", *off)
    here = train(*command(tmp_path, kind), *off, "run.name=cpu", env={"CUDA_VISIBLE_DEVICES": ""})
    assert here.returncode == 0, here.stderr
    losses = [[line["loss"] for line in metrics(folder, "train")] for folder in (there, tmp_path / "cpu")]
    assert losses[0] == pytest.approx(losses[1], rel=5e-3)


@pytest.mark.parametrize("kind", USE)
def test_evaluated_exported_and_used(kind: str, tmp_path: Path) -> None:
    folder = trained(tmp_path, kind, "run")
    reports = [
        run("torchrun", "--standalone", f"--nproc_per_node={size}", "-m", "seq.evaluate", folder) for size in (1, 2)
    ]
    assert [done.returncode for done in reports] == [0, 0], reports[0].stderr + reports[1].stderr
    figures = [re.findall(r"\d+\.\d+", done.stdout) for done in reports]
    assert figures[0] == figures[1]
    for form in ("model", "onnx", "safetensors"):
        out = () if form == "model" else ("--output", tmp_path / f"exported.{form}")
        done = run("python", "-m", "seq.export", folder, "--format", form, *out)
        assert done.returncode == 0, done.stderr
    program, *more = USE[kind]
    used = run("python", "-m", program, folder, *more)
    assert used.returncode == 0, used.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_never_waits(kind: str, tmp_path: Path) -> None:
    """CUDA itself raises at a wait."""
    path, *overrides = command(tmp_path, kind)
    config = load_config(Path(path), [*overrides, "logging.digests=false"])  # digests are made on the host
    corpus = prepare_corpus(config.data, task_of(config))
    with process_group(describe_launch(), timeout_seconds=60) as device:
        configure_numerics(config, device)
        trainer = Trainer(config, task_of(config), corpus, device)
        batches = list(BatchLoader(corpus.splits["train"], config.batch).steps(0, 4))
        try:
            for step, shards in enumerate(batches):
                torch.cuda.set_sync_debug_mode("error" if step > 1 else "default")
                trainer.update(trainer.accumulate_gradients(shards))
        finally:
            torch.cuda.set_sync_debug_mode("default")
        trainer.close()
        del trainer
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_gradients_of_the_gru(dtype: torch.dtype, tolerance: float, bidirectional: bool) -> None:
    """Against packed `nn.GRU` in fp64 on the CPU (pytorch#150700 reports wrong norms of gradients on an H100)."""
    assert dtype == torch.float32 or has_bf16_gru("cuda")
    set_numerics(threads=1, deterministic=False)  # cuDNN's default would compute fp32 in TF32
    torch.manual_seed(0)
    lengths, inputs = torch.tensor([200, 150, 200, 30]), torch.randn(4, 200, 24)
    inside = torch.arange(200) < lengths[:, None]
    found = []
    ways: tuple[tuple[str, GRUPath], ...] = (("cpu", "packed"), ("cuda", "auto"))
    for device, path in ways:
        torch.manual_seed(1)
        gru = GRU(24, GRUConfig(hidden_size=32, num_layers=2, path=path), bidirectional=bidirectional)
        gru = gru.double() if device == "cpu" else gru.to(device)
        with torch.autocast(device, dtype, enabled=device == "cuda" and dtype == torch.bfloat16):
            states, _ = gru(inputs.to(next(gru.parameters())), lengths)
        assert states.dtype == (torch.float64 if device == "cpu" else dtype)
        (states * inside[:, :, None].to(device)).float().square().mean().backward()
        found.append(
            torch.cat([weight.grad.flatten().double().cpu() for weight in gru.parameters() if weight.grad is not None])
        )
    assert (found[0] - found[1]).norm() / found[0].norm() < tolerance


def test_cudnn_under_autocast_is_not_what_it_says() -> None:
    """Why the GRU leaves autocast: cuDNN's wrapper gives fp16 for bf16. If this fails, a cast may be dropped."""
    layer = nn.GRU(3, 4).to("cuda")
    with torch.autocast("cuda", torch.bfloat16):
        assert layer(torch.ones(2, 1, 3, device="cuda"))[0].dtype == torch.float16
