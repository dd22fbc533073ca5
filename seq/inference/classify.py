"""Classify text with a trained model."""

import sys
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from seq.data.encode import frame
from seq.data.ragged import slices
from seq.inference.trained import TrainedModel

ROWS = 256
"""Texts that go through the model together."""


def predict(
    trained: TrainedModel, texts: Iterable[str], *, top: int, rows: int = ROWS
) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    """For each text the `top` likeliest (label, probability). Texts are read `rows` at a time, so any number of them needs
    the memory of one such batch. A text longer than `data.max_length` is cut, with a warning.
    """
    remaining = iter(texts)
    number = min(max(1, top), len(trained.labels))
    while batch := list(islice(remaining, rows)):
        best = probabilities(trained, batch).topk(number)
        for text, values, places in zip(batch, best.values.tolist(), best.indices.tolist(), strict=True):
            yield text, [(trained.labels[place], value) for place, value in zip(places, values, strict=True)]


@torch.inference_mode()
def probabilities(trained: TrainedModel, texts: list[str]) -> Tensor:
    """(B, C) probabilities of the classes, on the CPU."""
    limit, encoded = trained.config.data.max_length, trained.tokenizer.encode(texts)
    if long := int((encoded.lengths > limit).sum()):
        print(f"{long} text(s) cut to data.max_length={limit} tokens", file=sys.stderr)
    starts = encoded.offsets[:-1]
    sequences = frame(slices(encoded.values, starts, np.minimum(starts + limit, encoded.offsets[1:])))
    inputs, lengths = (torch.from_numpy(array) for array in sequences.pad(np.arange(len(texts))))
    logits: Tensor = trained.model(inputs.to(trained.device), lengths)[0]
    return logits.softmax(-1).cpu()
