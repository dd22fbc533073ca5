"""Evaluate a split: every example exactly once, and the same figures to the last bit at every world size."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from launch.collectives import sum_over_ranks
from launch.device import to_device
from seq.config import MAX_NGRAM, Config
from seq.data.corpus import Corpus, Split
from seq.data.dataset import IGNORE_INDEX, Batch, SequenceDataset, decode_rows
from seq.data.loader import BatchLoader
from seq.data.plan import Shard, ShardSizes
from seq.models import Model
from seq.training.metrics import Evaluation, Tally, classifier_figures, language_model_figures
from seq.training.objective import loss_sum
from seq.training.precision import autocast

ROWS, TOKENS = 256, 32768
"""Size of a shard. Without gradients there is room for more than in training."""
CHUNK = 256
"""Time steps that a language model reads at once, so that the logits of a long text need not all be in memory."""
PAIRS, EXAMPLES = 12, 4
"""Pairs of confused classes to show, and examples of each."""
MOST_CHARACTERS = 200
"""Characters shown of an example."""
EXAMPLE_TOKENS = 200_000
"""Tokens that are searched for examples. The other ranks wait during the search."""

Predictions = Iterator[tuple[Tensor, Tensor]]
"""Logits and their targets."""
Reading = Callable[[Model, Batch], Predictions]


@torch.inference_mode()
def evaluate(model: Model, split: Split, config: Config, device: torch.device) -> Evaluation:
    """Called by every rank; every rank gets the result.

    Each shard's sum has its own place in a table, and a rank leaves the places of the others at 0. So the sum over ranks is
    exact, and the sum of the table does not depend on which rank computed what.

    A language model is evaluated twice, and predicts each token once each time: `carried` from the beginning of each
    document to its end, and on windows of `evaluation.window` tokens, each from a fresh state.
    """
    classify = split.task == "classify"
    tokens = TOKENS if classify else ROWS * int(split.by_length.length[0])
    size = {"order": "bucketed", "rows": ROWS, "tokens": tokens}
    batches = BatchLoader(split, config.batch.model_copy(update=size), shuffle=False)
    readings: list[Reading] = [_whole] if classify else [_carried, partial(_windows, window=config.evaluation.window)]
    table = torch.zeros(len(readings), batches.steps_per_epoch, config.batch.shards, dtype=torch.float64, device=device)
    tally = Tally(model.output.out_features if classify else 0, device)
    model.eval()
    for batch in (shard.to(device) for shards in batches.steps(0, batches.steps_per_epoch) for shard in shards):
        with autocast(config.train.precision, device):
            for number, reading in enumerate(readings):
                for logits, targets in reading(model, batch):
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
    """Each row from beginning to end, with the state carried along."""
    hidden: Tensor | None = None
    padded = torch.nn.functional.pad(batch.inputs, (MAX_NGRAM, 0))
    for start in range(0, batch.inputs.shape[1], CHUNK):
        lengths = (batch.lengths - start).clamp(max=CHUNK)
        now = slice(start, start + int(lengths.max()))
        running = to_device((lengths > 0).nonzero()[:, 0], batch.inputs.device)
        before = {"labels": batch.labels} if hidden is None else {"hidden": hidden.index_select(1, running)}
        before["preceding"] = padded[:, start : start + MAX_NGRAM].index_select(0, running)
        logits, last = model(batch.inputs[:, now].index_select(0, running), lengths[lengths > 0], **before)
        hidden = last.new_zeros(len(last), len(lengths), last.shape[2]) if hidden is None else hidden
        hidden.index_copy_(1, running, last)
        yield logits, batch.targets[:, now].index_select(0, running)


def _windows(model: Model, batch: Batch, window: int) -> Predictions:
    """The rows in windows, each from a fresh state; as many windows at once as there is room for."""
    window = min(window, batch.inputs.shape[1])
    count = -(-batch.inputs.shape[1] // window)
    missing = count * window - batch.inputs.shape[1]
    inputs, targets = (
        torch.nn.functional.pad(tensor, (0, missing), value=padding).view(-1, window)
        for tensor, padding in ((batch.inputs, 0), (batch.targets, IGNORE_INDEX))
    )
    lengths = (batch.lengths[:, None] - window * torch.arange(count)).clamp(0, window).flatten()
    for rows in (lengths > 0).nonzero()[:, 0].split(max(1, TOKENS // window)):  # type: ignore[no-untyped-call]
        places = to_device(rows, inputs.device)
        labels = None if batch.labels is None else batch.labels.index_select(0, places // count)
        yield model(inputs.index_select(0, places), lengths[rows], labels=labels)[0], targets.index_select(0, places)


def most_confused(confusion: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """(true, predicted, count) of the largest cells beside the diagonal, the largest first."""
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]
    cells = (divmod(int(place), len(wrong)) for place in order)
    return [(true, guess, int(wrong[true, guess])) for true, guess in cells if wrong[true, guess]]


@torch.inference_mode()
def confused_examples(
    model: Model, corpus: Corpus, split: str, confusion: NDArray[np.int64], device: torch.device
) -> list[dict[str, Any]]:
    """For each of the most confused pairs of classes: `true`, `predicted`, `count`, and up to EXAMPLES `texts`, the first
    ones of the split. On one rank; leaves the model in eval mode."""
    pairs = most_confused(confusion)
    wanted = {(true, guess): min(count, EXAMPLES) for true, guess, count in pairs}
    texts: dict[tuple[int, int], list[str]] = {pair: [] for pair in wanted}
    model.eval()
    for batch in _batches(SequenceDataset(corpus.splits[split])):
        if all(len(texts[pair]) == wanted[pair] for pair in wanted):
            break
        guesses = model(**batch.to(device).arguments())[0].argmax(-1).tolist()
        for row, true, guess in zip(decode_rows(batch, corpus), batch.targets.tolist(), guesses, strict=True):
            if len(texts.get((true, guess), [])) < wanted.get((true, guess), 0):
                texts[true, guess].append(row["text"][:MOST_CHARACTERS])
    names = corpus.labels
    return [
        {"true": names[true], "predicted": names[guess], "count": count, "texts": texts[true, guess]}
        for true, guess, count in pairs
    ]


def _batches(dataset: SequenceDataset) -> Iterator[Batch]:
    """The first rows of the data set, in its own order."""
    longest = int(dataset.by_length.length[0])
    size = max(1, min(ROWS, TOKENS // longest))
    for start in range(0, min(len(dataset), EXAMPLE_TOKENS // longest + 1), size):
        rows = np.arange(start, min(start + size, len(dataset)))
        count = np.array([len(rows)])
        yield dataset[Shard(0, 0, rows, None, ShardSizes(count, count, count))]
