"""The gradient of a global batch is the same however it is split over shards and ranks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.parallel import DistributedDataParallel

from launch.allreduce import PlainReduction
from launch.ordered_reduction import OrderedReduction
from seq.config import Config
from seq.config.read import parse_config
from seq.data.dataset import SequenceDataset
from seq.data.ragged import RaggedArray
from seq.data.sampler import BucketedDistributedSampler
from seq.data.split import Split
from seq.models import build_model
from seq.tasks import TASKS
from seq.tasks.losses import cross_entropy
from tests.helpers import run_ranks

LENGTHS = [2, 9, 3, 3, 7, 5, 1]
"""Seven uneven sequences: with 8 shards some are empty."""


def make_config(kind: str, shards: int) -> Config:
    sizes = {"hidden_size": 6, "embedding_dim": 5, "ngrams": 3, "ngram_buckets": 40}
    tree = {"model": {"kind": kind} | sizes, "batch": {"shards": shards}}
    return parse_config(tree, where="test")


def make_labels(kind: str) -> NDArray[np.int64] | None:
    return np.arange(len(LENGTHS)) % 3 if kind == "classifier" else None


def make_dataset(kind: str) -> SequenceDataset:
    offsets = np.concatenate(([0], np.cumsum(np.array(LENGTHS) + 1)))
    values = np.random.default_rng(0).integers(1, 11, offsets[-1])
    labels = make_labels(kind)
    return SequenceDataset(
        Split.of(
            RaggedArray(values, offsets), labels, 0, TASKS["language_modeling" if labels is None else "classification"]
        )
    )


def reference(kind: str) -> list[torch.Tensor]:
    """One sequence after another, no padding, no shards: the mean of all targets' losses."""
    dataset, labels, config = make_dataset(kind), make_labels(kind), make_config(kind, 1)
    model = build_model(config, vocab_size=11, num_outputs=3).double()
    total, count = torch.zeros((), dtype=torch.float64), 0
    for row in range(len(dataset)):
        tokens = torch.from_numpy(dataset.sequences.pad(np.array([row]))[0])
        if labels is None:
            inputs, targets = tokens[:, :-1], tokens[:, 1:]
        else:
            inputs, targets = tokens, torch.tensor([int(labels[row])])
        total = total + cross_entropy(model(inputs, torch.tensor([inputs.shape[1]]))[0], targets)
        count += targets.numel()
    (total / count).backward()  # type: ignore[no-untyped-call]
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


def accumulate(
    kind: str, shards: int, make_reduction: Callable[[DistributedDataParallel, int], Any]
) -> list[torch.Tensor]:
    """What `Trainer.accumulate_gradients` does, in double precision."""
    config, dataset = make_config(kind, shards), make_dataset(kind)
    model = DistributedDataParallel(build_model(config, vocab_size=11, num_outputs=3).double())
    reduction = make_reduction(model, shards)
    sampler = BucketedDistributedSampler(dataset, config.batch)
    assert sampler.steps_per_epoch == 1
    batches = [dataset[shard] for shard in sampler]
    for number, batch in enumerate(batches, 1):
        reduction.begin(batch.shards)
        network = model if number == len(batches) else model.module
        loss = cross_entropy(network(batch.inputs, batch.lengths)[0], batch.targets) / batch.num_targets
        torch.autograd.backward(loss)
        if number < len(batches):
            reduction.push()
    reduction.finish()
    reduction.close()
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


def ordered(model: DistributedDataParallel, shards: int) -> OrderedReduction:
    return OrderedReduction(model, shards=shards)


def in_two_exchanges(model: DistributedDataParallel, shards: int) -> OrderedReduction:
    return OrderedReduction(model, shards=shards, small_bytes=0)


def plain(model: DistributedDataParallel, shards: int) -> PlainReduction:
    return PlainReduction(model, compress="none")


def compare(rank: int, kind: str, all_shards: list[int], expected: list[torch.Tensor], folder: str) -> None:
    world_size = torch.distributed.get_world_size()
    for shards in (shards for shards in all_shards if shards >= world_size):
        for name, make in (("ordered", ordered), ("in_two_exchanges", in_two_exchanges), ("plain", plain)):
            gradients = accumulate(kind, shards, make)
            torch.testing.assert_close(gradients, expected, rtol=0, atol=1e-12)
            if rank == 0:
                torch.save(gradients, f"{folder}/{name}-{shards}-{world_size}.pt")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classifier", "language_model"])
def test_gradient(tmp_path: Path, kind: str) -> None:
    """Near the reference in every way; the ordered reduction the same bits at every world size, however exchanged."""
    for world_size in (1, 2, 3, 4):
        run_ranks(compare, world_size, tmp_path, kind, [1, 2, 4, 6, 8], reference(kind), str(tmp_path))
    for shards in (2, 4, 6, 8):
        first = torch.load(tmp_path / f"ordered-{shards}-1.pt")
        for world_size in (size for size in (1, 2, 3, 4) if size <= shards):
            for name in ("ordered", "in_two_exchanges"):
                other = torch.load(tmp_path / f"{name}-{shards}-{world_size}.pt")
                assert all(torch.equal(mine, its) for mine, its in zip(first, other, strict=True))
