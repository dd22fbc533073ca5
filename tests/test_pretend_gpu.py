"""Every kind of model on the pretend GPU: nothing raises, and the host waits for the device only where it must."""

import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import seq
import seq.evaluate
import seq.export
import seq.replay
import train_ddp
from launch.context import describe_launch
from launch.group import process_group
from launch.preemption import SIGNALS
from seq.config.read import load_config
from seq.data.corpus import prepare_corpus
from seq.data.loader import BatchLoader
from seq.models import build_model
from seq.models.language_model import LanguageModel
from seq.models.sampling import sample_tokens
from seq.tasks import Loaded, task_of
from seq.tasks.language_modeling import LoadedLanguageModel
from seq.tasks.tagging import LoadedTagger
from seq.training.pass_size import choose_pass_size
from seq.training.precision import configure_numerics
from seq.training.step import Trainer
from tests import corpora
from tests.pretend_gpu import pretend_gpu, seen_by_gru
from tests.runs import metrics, result, words

ROWS = [(name * (1 + number % 3) + "abcdefgh"[number], origin) for name, origin in corpora.ROWS for number in range(8)]
CHOICE = ("train.average_last=0.5", "checkpoint.monitor=accuracy", "evaluation.every_steps=2")
STREAM = ("batch.order=stateful", "data.unit=document", "batch.rows=2", "batch.bptt=8")
KINDS: dict[str, tuple[str, ...]] = {
    "classifier": ("names", "model.num_layers=2", "model.token_dropout=0.1", "train.class_weights=0.5", *CHOICE),
    "classifier, packed": ("names", "model.path=packed", "model.num_layers=2"),
    "classifier, scan": ("names", "model.path=scan", "model.num_layers=2"),
    "language model": ("speeches", "train.precision=fp32"),
    "language model, stream, bf16": ("speeches", *STREAM, "train.precision=bf16"),
    "language model, fp16": ("speeches", "train.precision=fp16"),
    "free running": ("speeches", "train.teacher_forcing=0.5", "train.precision=fp32"),
    "by label": ("name_generator",),
    "labels": ("labels", "checkpoint.monitor=micro_f1", "evaluation.every_steps=2"),
    "number": ("number", "checkpoint.monitor=mae", "evaluation.every_steps=2"),
    "tagger": ("tagger", "model.num_layers=2", "model.token_dropout=0.1"),
    "seq2seq": ("seq2seq", "model.num_layers=2", "evaluation.beam=2", "train.label_smoothing=0.1"),
    "seq2seq, scheduled": ("seq2seq", "train.teacher_forcing_end=0.2", "train.precision=bf16"),
}
SHORT = ("classifier, packed", "classifier, scan", "language model", "labels", "seq2seq, scheduled")
"""Kinds of which steps alone are run: a whole run takes its time."""
CHECKS = (
    "run.deterministic=true",
    "checkpoint.every_steps=1",
    "checkpoint.keep=9",
    "logging.digests=true",
    "train.clip_grad_norm=0.01",
)


def run_words(kind: str, folder: Path) -> list[str]:
    """A small run of the kind; its shards have rows of uneven length."""
    base, *more = KINDS[kind]
    source = []
    if base in ("names", "name_generator"):
        table = corpora.write_rows(folder, "csv", ROWS)
        source = [
            "data.source=csv",
            f"data.files.train={table}",
            "data.text=name",
            "data.label=origin",
            "data.validation_fraction=0.3",
        ]
    if base == "speeches":  # each operator takes its time here
        few = folder / "few.txt"
        few.write_text("9 bottles of beer.\n\n8 bottles.\n\n")
        source = [f"data.files.validation={few}"]
    return [*words(folder, base, *more), *source]


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_never_waits(kind: str, tmp_path: Path) -> None:
    """Forward and backward pass of every shard, and the update. Rows have uneven lengths."""
    path, *overrides = run_words(kind, tmp_path)
    config, uneven = load_config(Path(path), overrides), False
    with pretend_gpu() as waits:
        corpus = prepare_corpus(config.data, task_of(config))
        process = describe_launch()
        with process_group(process, timeout_seconds=60) as device:
            configure_numerics(config, device)
            trainer = Trainer(config, task_of(config), corpus, device)
            batches = BatchLoader(corpus.splits["train"], config.batch)
            choose_pass_size(trainer, batches)
            for step, shards in enumerate(batches.steps(0, 3)):
                if step == 1:  # the optimizer has made its state
                    waits.clear()
                trainer.set_lr(step, 3)
                done = trainer.update(trainer.accumulate_gradients(shards))
                trainer.take_sync_seconds()
                uneven |= any(len(set(shard.lengths.tolist())) > 1 for shard in shards)
            assert not waits
            assert done.grad_norm.isfinite()
            assert uneven or config.batch.order == "stateful"
            trainer.close()
            del trainer
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(config.train.precision, torch.float32)
    assert seen_by_gru == (set() if config.model.path == "scan" else {dtype})


@pytest.mark.slow
@pytest.mark.extended
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in SHORT])
def test_a_run_from_begin_to_use(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Training with gradients that are clipped, evaluation, samples, export; resumed and replayed with the same
    bits."""
    arguments = [*run_words(kind, tmp_path), *CHECKS, "train.steps=4", "run.name=whole"]
    with pretend_gpu():
        train_ddp.main(arguments)
        whole = tmp_path / "whole"
        for step in (1, 3):
            resumed = tmp_path / f"from-{step}"
            shutil.copytree(
                whole, resumed, ignore=shutil.ignore_patterns("result.json", "model", f"step-*[{step + 1}-4].pt")
            )
            train_ddp.main([*arguments, f"run.name={resumed.name}"])
            assert result(resumed)["params_sha256"] == result(whole)["params_sha256"]
            norms = [[line["grad_norm"] for line in metrics(folder, "train")] for folder in (whole, resumed)]
            assert norms[1][4:] == norms[0][step:]
        assert seq.replay.main([str(whole), "--step", "4"]) == 0
        capsys.readouterr()
        seq.evaluate.main([str(whole)])
        assert re.search(r"\d\.\d{4}", capsys.readouterr().out)
        seq.export.main([str(whole), "--format", "safetensors", "--output", str(tmp_path / "weights.safetensors")])
        for folder in (whole, whole / "model"):
            assert len(use(seq.load(folder))) == 2


def use(model: Loaded) -> list[Any]:
    """What the model gives for two texts, or two texts."""
    match model:
        case LoadedLanguageModel():
            return model.generate("9", num=2, length=5, label=model.labels[0] if model.labels else None)
        case LoadedTagger():
            return model.predict(["1 2 3", "4"])
        case _:
            return list(model.predict(["16", "25"]))


@pytest.mark.parametrize("kind", ["language model", "by label"])
def test_sampling_waits_once_a_token(kind: str, tmp_path: Path) -> None:
    path, *overrides = run_words(kind, tmp_path)
    config = load_config(Path(path), [*overrides, "generation.length=12"])
    with pretend_gpu() as waits:
        model = build_model(config, vocab_size=20, num_outputs=3).to("cuda").eval()
        assert isinstance(model, LanguageModel)
        waits.clear()
        settings: dict[str, Any] = {
            "rows": 3,
            "forbidden": torch.tensor([0, 1]),
            "unit_end": torch.tensor([5]),
            "written": torch.tensor([6]),
        }
        label = 1 if task_of(config).name == "conditional_language_modeling" else None
        generator = torch.Generator().manual_seed(0)
        drawn = list(sample_tokens(model, torch.tensor([1, 6]), config.generation, generator, label=label, **settings))
        assert len(drawn) == 12
        assert sum(waits.values()) <= 12 + (label is not None)


def test_it_raises_where_a_gpu_would() -> None:
    with pretend_gpu():
        there, here = torch.ones(3, device="cuda"), torch.ones(3)
        with pytest.raises(RuntimeError, match="of the host and of the device"):
            there + here
        with pytest.raises(RuntimeError, match="not deterministic"):
            there.cumsum(0)


def test_it_notes_each_wait() -> None:
    with pretend_gpu() as waits:
        there = torch.ones(3, device="cuda")
        for wait in (there.sum().item, there.cpu, there.tolist, there.nonzero, lambda: there[there > 0]):
            waits.clear()
            wait()
            assert sum(waits.values()) == 1
        waits.clear()
        torch.ones(3).pin_memory().to("cuda", non_blocking=True)
        assert not waits
        torch.ones(3).to("cuda", non_blocking=True)
        assert waits
        waits.clear()
        there[:2] = 1.0
        there[1].fill_(1.0)
        assert not waits
        there[1] = 1.0
        assert waits


def test_it_is_cudnn() -> None:
    """Under bf16 autocast a GRU gives fp16, and its weights are slices of one block."""
    with pretend_gpu():
        layer = torch.nn.GRU(3, 4).to("cuda")
        assert len({weight.inner.untyped_storage().data_ptr() for weight in layer.parameters()}) == 1  # type: ignore[attr-defined]
        with torch.autocast("cuda", torch.bfloat16):
            assert layer(torch.ones(2, 1, 3, device="cuda"))[0].dtype == torch.float16
            assert torch.nn.Linear(3, 4).to("cuda")(torch.ones(1, 3, device="cuda")).dtype == torch.bfloat16


def test_its_norm_depends_on_where_a_tensor_lies() -> None:
    norm, generator = torch.linalg.vector_norm, torch.Generator().manual_seed(0)
    with pretend_gpu():
        values = [torch.rand(1001, generator=generator).to("cuda") for _ in range(20)]
        moved = [torch.cat([value[:1], value])[1:] for value in values]
        assert all(map(torch.equal, moved, values))
        assert not all(torch.equal(norm(there), norm(value)) for there, value in zip(moved, values, strict=True))
        assert all(torch.equal(norm(there.clone()), norm(value)) for there, value in zip(moved, values, strict=True))
