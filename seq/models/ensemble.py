"""Several classifiers as one: the mean of their probabilities."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from seq.models.classifier import Classifier


class Ensemble(nn.Module):
    """Called as a classifier is. All members have the same tokens and classes."""

    def __init__(self, members: Sequence[Classifier]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.output = members[0].output

    def forward(self, inputs: Tensor, lengths: Tensor, hidden: None = None) -> tuple[Tensor, None]:
        """`inputs` (B, T) token ids, `lengths` (B,) on the CPU -> the logarithm of the mean probabilities (B, C), and no state."""
        each = torch.stack([member(inputs, lengths)[0].float().log_softmax(-1) for member in self.members])
        return each.logsumexp(0) - math.log(len(each)), None
