"""Evaluate a split: every example exactly once at any world size, and the same figures to the last bit."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from launch.collectives import sum_over_ranks
from seq.config import MAX_NGRAM, Config
from seq.data.corpus import Split
from seq.data.dataset import IGNORE_INDEX, Batch, SequenceDataset
from seq.data.loader import epoch_steps, make_loader
from seq.data.sampler import BucketedDistributedSampler
from seq.models.build import Model
from seq.training.metrics import Evaluation, classifier_figures, language_model_figures
from seq.training.objective import loss_sum
from seq.training.precision import autocast
from seq.training.tally import Tally

ROWS, TOKENS = 256, 32768
"""Size of a shard: without gradients there is room for more than in training."""
CHUNK = 256
"""Time steps that a language model reads at once. Texts may be long; their logits need not be in memory together."""

Predictions = Iterator[tuple[Tensor, Tensor]]
"""Logits, and the targets that they are for."""
Way = Callable[[Model, Batch], Predictions]


@torch.inference_mode()
def evaluate(model: Model, split: Split, config: Config, device: torch.device) -> Evaluation:
    """Called by every rank; every rank gets the result.

    Each shard's sums stand in a table, at a place of their own; a rank leaves the others' places at 0. So the sum
    over ranks is exact, and adding up the table afterwards does not depend on who computed what.

    A language model is evaluated twice, and predicts each token once each time: `carried`, from the beginning of each
    document to its end, and on windows of `evaluation.window` tokens, each from a fresh state.
    """
    classify = split.task == "classify"
    size = {"order": "bucketed", "rows": ROWS, "tokens": TOKENS if classify else ROWS * int(split.line.length[0])}
    dataset = SequenceDataset(split)
    sampler = BucketedDistributedSampler(dataset, config.batch.model_copy(update=size), shuffle=False)
    loader = make_loader(dataset, sampler, ahead=device.type == "cuda")
    ways: list[Way] = [_whole] if classify else [_carried, partial(_windows, window=config.evaluation.window)]
    table = torch.zeros(len(ways), sampler.steps_per_epoch, config.batch.shards, dtype=torch.float64, device=device)
    tally = Tally(model.output.out_features if classify else 0, device)
    model.eval()
    for shards in epoch_steps(loader, sampler.shards_per_rank):
        for batch in (shard.to(device) for shard in shards):
            with autocast(config.train.precision, device):
                for number, way in enumerate(ways):
                    for logits, targets in way(model, batch):
                        table[number, batch.step, batch.shard] += loss_sum(logits, targets)
                        if classify:
                            tally.add(logits, targets)
    model.train()
    totals = [float(np.sum(part)) for part in sum_over_ranks(table).cpu().numpy()]
    if not classify:
        figures = language_model_figures(totals[0], totals[1], int(split.lengths.sum()), split.num_characters)
        return Evaluation(figures=figures)
    confusion, scores = (sum_over_ranks(counts).cpu().numpy() for counts in (tally.confusion, tally.scores))
    return Evaluation(figures=classifier_figures(totals[0], confusion), confusion=confusion, scores=scores)


def _whole(model: Model, batch: Batch) -> Predictions:
    yield model(**batch.arguments())[0], batch.targets


def _carried(model: Model, batch: Batch) -> Predictions:
    """Each row from its beginning to its end."""
    hidden: Tensor | None = None
    padded = torch.nn.functional.pad(batch.inputs, (MAX_NGRAM, 0))
    for start in range(0, batch.inputs.shape[1], CHUNK):
        lengths = (batch.lengths - start).clamp(max=CHUNK)
        running, now = (lengths > 0).to(batch.inputs.device), slice(start, start + int(lengths.max()))
        before = {"labels": batch.labels} if hidden is None else {"hidden": hidden[:, running]}
        before["preceding"] = padded[running, start : start + MAX_NGRAM]
        logits, last = model(batch.inputs[running, now], lengths[lengths > 0], **before)
        hidden = last.new_zeros(len(last), len(running), last.shape[2]) if hidden is None else hidden
        hidden[:, running] = last
        yield logits, batch.targets[running, now]


def _windows(model: Model, batch: Batch, window: int) -> Predictions:
    """The rows in windows, as many rows at once as there is room for."""
    count = -(-batch.inputs.shape[1] // window)
    missing = count * window - batch.inputs.shape[1]
    inputs, targets = (
        torch.nn.functional.pad(tensor, (0, missing), value=padding).view(-1, window)
        for tensor, padding in ((batch.inputs, 0), (batch.targets, IGNORE_INDEX))
    )
    lengths = (batch.lengths[:, None] - window * torch.arange(count)).clamp(0, window).flatten()
    for rows in (lengths > 0).nonzero()[:, 0].split(max(1, TOKENS // window)):  # type: ignore[no-untyped-call]
        places = rows.to(inputs.device)
        labels = None if batch.labels is None else batch.labels[places // count]
        yield model(inputs[places], lengths[rows], labels=labels)[0], targets[places]
