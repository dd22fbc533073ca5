"""What a classifier confuses: the pairs of classes it takes for one another most often, with texts as examples."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seq.data.corpus import Corpus
from seq.data.dataset import SequenceDataset, decode_rows
from seq.data.plan import Pieces, Shard
from seq.models.build import Model

PAIRS, EXAMPLES = 12, 4
ROWS, MOST_ROWS = 256, 20_000
"""Rows looked at together, and at most."""


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
    texts: dict[tuple[int, int], list[str]] = {(true, guess): [] for true, guess, _ in pairs}
    dataset = SequenceDataset(corpus.splits[split])
    model.eval()
    for start in range(0, min(len(dataset), MOST_ROWS), ROWS):
        if all(len(found) == EXAMPLES for found in texts.values()):
            break
        batch = dataset[_rows(start, min(start + ROWS, len(dataset)))]
        guesses = model(**batch.to(device).arguments())[0].argmax(-1).tolist()
        for row, true, guess in zip(decode_rows(batch, corpus), batch.targets.tolist(), guesses, strict=True):
            if len(found := texts.get((true, guess), [""] * EXAMPLES)) < EXAMPLES:
                found.append(row["text"])
    names = corpus.labels
    return [
        {"true": names[true], "predicted": names[guess], "count": count, "texts": texts[true, guess]}
        for true, guess, count in pairs
    ]


def _rows(start: int, stop: int) -> Shard:
    """Rows of the data set as one shard."""
    count = np.array([stop - start])
    return Shard(0, 0, np.arange(start, stop), None, Pieces(count, count, count))
