"""Every model, in passes of every size: the losses, gradients and weights are those of shard by shard, to the last bit."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

from launch.context import describe_launch
from launch.group import process_group
from launch.tree import passes_of
from seq.config.read import load_config
from seq.data.corpus import prepare_corpus
from seq.data.loader import BatchLoader
from seq.errors import RunError
from seq.models.classifier import Classifier
from seq.tasks import task_of
from seq.training.pass_size import choose_pass_size
from seq.training.precision import configure_numerics
from seq.training.step import Trainer
from tests.runs import words

ODD = ("batch.rows=5", "model.hidden_size=13", "model.embedding_dim=7", "model.num_layers=2", "model.dropout=0.2")
EVEN = ("batch.rows=16", "model.hidden_size=16", "model.embedding_dim=16", "batch.tokens=4096")
STREAM = ("data.unit=document", "batch.order=stateful", "batch.bptt=9")
KINDS = {
    "classifier": ("names", "model.token_dropout=0.1", "model.output_dropout=0.3", "model.ngram_dropout=0.2"),
    "one direction": ("names", "model.bidirectional=false", "train.class_weights=0.5", "train.label_smoothing=0.1"),
    "views": ("names", "model.bidirectional=false", "batch.rows=3", "model.output_dropout=0"),
    "dense": ("names", "model.path=dense", "batch.rows=3"),
    "packed": ("names", "model.path=packed"),
    "labels": ("labels",),
    "number": ("number",),
    "tagger": ("tagger", "model.ngrams=3"),
    "seq2seq": ("seq2seq", "model.attention_dropout=0.1"),
    "seq2seq, scheduled": ("seq2seq", "train.teacher_forcing=0.6"),
    "language model": ("speeches", "model.ngrams=3", "model.ngram_dropout=0.2"),
    "stream": ("speeches", *STREAM),
    "tied, free running": (
        "speeches",
        "model.tie_weights=true",
        "model.embedding_dim=16",
        "model.hidden_size=16",
        "train.teacher_forcing=0.5",
    ),
    "free running, dense": ("speeches", "model.path=dense", "train.teacher_forcing=0.5", "batch.rows=3"),
    "stream, dense": ("speeches", *STREAM, "model.path=dense", "batch.rows=3"),
    "by label": ("name_generator",),
    "plain": ("names", "sync.reduction=allreduce"),
}


@contextmanager
def trainer_of(folder: Path, *settings: str) -> Iterator[tuple[Trainer, BatchLoader]]:
    path, *overrides = words(folder, *settings)
    config = load_config(Path(path), overrides)
    corpus = prepare_corpus(config.data, task_of(config))
    with process_group(describe_launch(), timeout_seconds=60) as device:
        configure_numerics(config, device)
        trainer = Trainer(config, task_of(config), corpus, device)
        yield trainer, BatchLoader(corpus.splits["train"], config.batch)
        trainer.close()
        del trainer
    torch.use_deterministic_algorithms(False)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", KINDS)
def test_any_grouping_gives_the_same_bits(kind: str, precision: str, tmp_path: Path) -> None:
    """6 shards, which are no power of two, in passes of 1, 2 and 4; two steps."""
    base, *more = KINDS[kind]
    for sizes in (ODD, EVEN):
        runs = {}
        for most in (1, 2, 4):
            settings = (*sizes, "batch.shards=6", f"train.precision={precision}", *more)
            with trainer_of(tmp_path, base, *settings) as (trainer, batches):
                batches.sampler.most_in_pass, found = most, list[Tensor]()
                for step, passes in enumerate(batches.steps(0, 2)):
                    assert [one.shards for one in passes] == passes_of(range(6), most)
                    trainer.set_lr(step, 4)
                    done = trainer.update(trainer.accumulate_gradients(passes))
                    found += [done.shard_losses, done.grad_norm, *(own for _, own in trainer.gradients())]
                runs[most] = [*found, trainer.state.carried.hidden, *trainer.model.parameters()]
        for most in (2, 4):
            if kind == "plain":
                torch.testing.assert_close(runs[most], runs[1])
            else:
                assert all(torch.equal(one, other) for one, other in zip(runs[1], runs[most], strict=True)), most


def test_what_would_mix_shards_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before the first step, by layers that do not know shards, and by the bits."""
    with trainer_of(tmp_path, "names") as (trainer, batches):
        choose_pass_size(trainer, batches)
        assert (batches.sampler.most_in_pass > 1, capsys.readouterr().err) == (True, "")
        several = trainer.config.model_copy(update={"run": trainer.config.run.model_copy(update={"threads": 2})})
        with patch.object(trainer, "config", several):
            choose_pass_size(trainer, batches)
        assert batches.sampler.most_in_pass == 1
        forward = Classifier.forward

        def mixed(model: Classifier, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
            logits, last = forward(model, inputs, lengths)
            return logits + logits.mean(0), last

        with patch.object(Classifier, "forward", mixed):
            choose_pass_size(trainer, batches)
        assert batches.sampler.most_in_pass == 1
        assert "has other bits if shards are computed together, so a pass has one shard" in capsys.readouterr().err
        assert isinstance(trainer.model, Classifier)
        trainer.model.output = nn.Linear(trainer.model.output.in_features, trainer.model.output.out_features)  # type: ignore[assignment]
        choose_pass_size(trainer, batches)
        assert batches.sampler.most_in_pass == 1
        assert "model.output (Linear) does not know the shards of a pass" in capsys.readouterr().err


def test_a_pass_is_as_large_as_memory(tmp_path: Path) -> None:
    with trainer_of(tmp_path, "names", "batch.shards=8") as (trainer, batches):
        tried = []

        def check_memory(batch: object, fits: int) -> int:
            tried.append(len(batch.shards))  # type: ignore[attr-defined]
            if tried[-1] > fits:
                raise RunError("out of memory")
            return 0

        with patch.object(trainer, "check_memory", lambda batch: check_memory(batch, 2)):
            choose_pass_size(trainer, batches)
        assert (tried, batches.sampler.most_in_pass) == ([8, 4, 2], 2)
        with patch.object(trainer, "check_memory", lambda batch: check_memory(batch, 0)), pytest.raises(RunError):
            choose_pass_size(trainer, batches)
