"""Mistakes of a classifier: the pairs of classes that it confuses most, with examples."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from seq.data.corpus import Corpus
from seq.data.dataset import Batch, SequenceDataset, decode_rows
from seq.models import Model
from seq.tasks.confusion import Confusion

ROWS, TOKENS = 256, 32768
"""Most rows and time steps that are read at once."""
PAIRS, EXAMPLES = 12, 4
"""Pairs of confused classes to show, and examples of each."""
MOST_CHARACTERS = 200
"""Characters shown of an example."""
EXAMPLE_TOKENS = 200_000
"""Tokens that are searched for examples. The other ranks wait during the search."""


def most_confused(confusion: Confusion) -> list[tuple[int, int, int]]:
    """(true, predicted, count) of the largest cells beside the diagonal, the largest first."""
    wrong = np.flatnonzero(confusion.true != confusion.predicted)
    largest = wrong[np.argsort(-confusion.counts[wrong], kind="stable")[:PAIRS]]
    cells = (confusion.true, confusion.predicted, confusion.counts)
    return list(zip(*(part[largest].tolist() for part in cells), strict=True))


@torch.inference_mode()
def confused_examples(
    model: Model, corpus: Corpus, split: str, confusion: Confusion, device: torch.device
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
    longest = int(dataset.by_length.length.max())
    size = max(1, min(ROWS, TOKENS // longest))
    for start in range(0, min(len(dataset), EXAMPLE_TOKENS // longest + 1), size):
        yield dataset.gather(np.arange(start, min(start + size, len(dataset))))
