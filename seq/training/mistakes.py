"""What a classifier confuses: the pairs of classes it takes for one another most often, with texts as examples."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seq.data.corpus import Corpus
from seq.data.dataset import Batch, SequenceDataset, decode_rows
from seq.data.plan import Pieces, Shard
from seq.models.build import Model

PAIRS, EXAMPLES = 12, 4
MOST_CHARACTERS = 200
"""Of an example."""
ROWS, TOKENS, ALL_TOKENS = 256, 32_768, 200_000
"""Rows and tokens looked at together, and tokens in all: the other ranks wait meanwhile."""


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
    """For each of the most confused pairs `true`, `predicted`, `count` and up to EXAMPLES `texts`, the first of the
    split. On one rank; leaves the model in eval mode."""
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
    longest = int(dataset.line.length[0])
    size = max(1, min(ROWS, TOKENS // longest))
    for start in range(0, min(len(dataset), ALL_TOKENS // longest + 1), size):
        rows = np.arange(start, min(start + size, len(dataset)))
        count = np.array([len(rows)])
        yield dataset[Shard(0, 0, rows, None, Pieces(count, count, count))]
