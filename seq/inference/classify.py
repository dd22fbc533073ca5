"""Predict a label, several labels or a number for texts, with a trained model."""

import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from seq.config import Task
from seq.data.cut import frame
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
    number = min(max(1, top), len(trained.labels))
    for text, chances in _each(trained, texts, rows):
        best = chances.topk(number)
        yield (
            text,
            [
                (trained.labels[place], value)
                for place, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
            ],
        )


def predict_sets(
    trained: TrainedModel, texts: Iterable[str], *, top: int = 0, rows: int = ROWS
) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    """For each text the (label, probability) of the labels that are at least as likely as not, the likeliest first. `top`: of so
    many labels instead; 0: of those."""
    for text, chances in _each(trained, texts, rows):
        values, places = chances.sort(descending=True, stable=True)
        number = top or int((values >= 0.5).sum())
        chosen = zip(places.tolist()[:number], values.tolist()[:number], strict=True)
        yield text, [(trained.labels[place], value) for place, value in chosen]


def predict_numbers(trained: TrainedModel, texts: Iterable[str], *, rows: int = ROWS) -> Iterator[tuple[str, float]]:
    """For each text its number."""
    for text, (value,) in _each(trained, texts, rows):
        yield text, float(value)


def _each(trained: TrainedModel, texts: Iterable[str], rows: int) -> Iterator[tuple[str, Tensor]]:
    remaining = iter(texts)
    while batch := list(islice(remaining, rows)):
        yield from zip(batch, answers(trained, batch), strict=True)


ANSWERS: dict[Task, Callable[[Tensor], Tensor]] = {
    "classification": lambda logits: logits.softmax(-1),
    "multilabel": lambda logits: logits.sigmoid(),
    "regression": lambda logits: logits.double(),
}
"""From a model's logits to probabilities, or a number in standard deviations."""


@torch.inference_mode()
def answers(trained: TrainedModel, texts: list[str]) -> Tensor:
    """(B, C) probabilities of the classes, or (B, 1) numbers, on the CPU."""
    limit, encoded = trained.config.data.max_length, trained.encode(texts)
    if long := int((encoded.lengths > limit).sum()):
        print(f"{long} text(s) cut to data.max_length={limit} tokens", file=sys.stderr)
    starts = encoded.offsets[:-1]
    sequences = frame(slices(encoded.values, starts, np.minimum(starts + limit, encoded.offsets[1:])))
    inputs, lengths = (torch.from_numpy(array) for array in sequences.pad(np.arange(len(texts))))
    found = ANSWERS[trained.config.task](trained.model(inputs.to(trained.device), lengths)[0].cpu())
    return found * trained.outputs.scale + trained.outputs.mean
