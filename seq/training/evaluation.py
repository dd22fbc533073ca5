"""Evaluate a split: every example exactly once at any world size, and the same figures to the last bit."""

import numpy as np
import torch
from torch import Tensor

from launch.collectives import sum_over_ranks
from seq.config import Config
from seq.data.corpus import Split
from seq.data.dataset import Batch, SequenceDataset
from seq.data.loader import epoch_steps, make_loader
from seq.data.sampler import BucketedDistributedSampler
from seq.models.build import Model
from seq.training.metrics import Evaluation, classifier_figures, language_model_figures
from seq.training.objective import loss_sum
from seq.training.precision import autocast


@torch.inference_mode()
def evaluate(model: Model, split: Split, config: Config, device: torch.device) -> Evaluation:
    """Called by every rank; every rank gets the result.

    Each shard's sums stand in a table, at a place of their own; a rank leaves the others' places at 0. So the sum
    over ranks is exact, and adding up the table afterwards does not depend on who computed what.
    """
    dataset = SequenceDataset(split)
    sampler = BucketedDistributedSampler(dataset, config.batch, shuffle=False)
    loader = make_loader(dataset, sampler, ahead=device.type == "cuda")
    table = torch.zeros(sampler.steps_per_epoch, config.batch.shards, dtype=torch.float64, device=device)
    classes = 0 if split.labels is None else model.output.out_features
    confusion = torch.zeros(classes, classes, dtype=torch.int64, device=device)
    model.eval()
    for shards in epoch_steps(loader, sampler.shards_per_rank):
        for batch in (shard.to(device) for shard in shards):
            logits = _forward(model, batch, config)
            table[batch.step, batch.shard] = loss_sum(logits, batch.targets)
            if classes:
                _count(confusion, logits, batch.targets)
    model.train()
    total = float(np.sum(sum_over_ranks(table).cpu().numpy()))
    if not classes:
        figures = language_model_figures(total, int(split.lengths.sum()), split.num_characters)
        return Evaluation(figures=figures)
    matrix = sum_over_ranks(confusion).cpu().numpy()
    return Evaluation(figures=classifier_figures(total, matrix), confusion=matrix)


def _forward(model: Model, batch: Batch, config: Config) -> Tensor:
    with autocast(config.train.precision, batch.inputs.device):
        logits: Tensor = model(batch.inputs, batch.lengths)
    return logits


def _count(confusion: Tensor, logits: Tensor, targets: Tensor) -> None:
    """Add to `confusion[true, predicted]`; the dummy row of an empty shard has no target."""
    real = targets >= 0
    cells = targets[real] * len(confusion) + logits[real].argmax(-1)
    confusion += torch.bincount(cells, minlength=confusion.numel()).view_as(confusion)
