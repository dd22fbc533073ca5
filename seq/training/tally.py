"""What a classifier predicted, counted: in integers, whose sum over ranks is exact whatever the order."""

import torch
from torch import Tensor

LEVELS = 100
"""Steps of probability that a class's rows are counted by."""


class Tally:
    """`confusion` (C, C): rows by true and predicted class. `scores` (C, 2, LEVELS): for each class the rows of other
    classes and those of its own, by the probability that it was given."""

    def __init__(self, classes: int, device: torch.device) -> None:
        self.classes = torch.arange(classes, device=device)
        self.confusion = torch.zeros(classes, classes, dtype=torch.int64, device=device)
        self.scores = torch.zeros(classes, 2, LEVELS, dtype=torch.int64, device=device)

    def add(self, logits: Tensor, targets: Tensor) -> None:
        """`logits` (B, C), `targets` (B,); the dummy row of an empty shard has no target."""
        logits, targets = logits[targets >= 0].float(), targets[targets >= 0]
        self.confusion += _count(targets * len(self.classes) + logits.argmax(-1), self.confusion)
        level = (logits.softmax(-1) * LEVELS).long().clamp(0, LEVELS - 1)  # NaN is some integer
        own = targets[:, None] == self.classes
        self.scores += _count((self.classes * 2 + own) * LEVELS + level, self.scores)


def _count(places: Tensor, like: Tensor) -> Tensor:
    return torch.bincount(places.flatten(), minlength=like.numel()).view_as(like)
