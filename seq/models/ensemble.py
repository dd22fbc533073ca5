"""Several trained models as one, whose prediction is the mean of theirs."""

import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from seq.models.classifier import Classifier
from seq.models.seq2seq import Memory, Seq2Seq


def mean_of_probabilities(logits: Tensor) -> Tensor:
    """(N, ..., C) -> (..., C): the logarithms of the mean probabilities of N models."""
    return logits.log_softmax(-1).logsumexp(0) - math.log(len(logits))


class Ensemble(nn.Module):
    """Has a classifier's interface. All members have the same tokens and outputs; `mean` turns their logits (N, B, C) into (B, C)."""

    def __init__(self, members: Sequence[Classifier], mean: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.members, self._mean = nn.ModuleList(members), mean

    def forward(self, inputs: Tensor, lengths: Tensor, hidden: None = None) -> tuple[Tensor, None]:
        """`inputs` (B, T) token ids, `lengths` (B,) on the CPU -> logits (B, C), and no state."""
        return self._mean(torch.stack([member(inputs, lengths)[0].float() for member in self.members])), None


class Memories(tuple[Memory, ...]):
    """The memory of each member."""

    def take(self, rows: Tensor) -> "Memories":
        return Memories(memory.take(rows) for memory in self)


class Seq2SeqEnsemble(nn.Module):
    """Has the interface of a trained `Seq2Seq`, as a search uses it: each token's probability is the mean of the members'. Their states
    have the same size; they lie one after another in the first axis of `hidden`."""

    def __init__(self, members: Sequence[Seq2Seq]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(
        self, inputs: Tensor, lengths: Tensor, target_inputs: Tensor, target_lengths: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As `Seq2Seq.forward`, with teacher forcing."""
        return self.decode(target_inputs, target_lengths, *self.encode(inputs, lengths))

    def encode(self, inputs: Tensor, lengths: Tensor) -> tuple[Memories, Tensor]:
        memories, states = zip(*(cast(Seq2Seq, own).encode(inputs, lengths) for own in self.members), strict=True)
        return Memories(memories), torch.cat(states)

    def decode(self, tokens: Tensor, lengths: Tensor, memory: Memories, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """`tokens` (B, T), from the state `hidden` -> the logarithms of the mean probabilities (B, T, num_outputs), and the last state."""
        each = zip(self.members, memory, hidden.chunk(len(self.members)), strict=True)
        found = [cast(Seq2Seq, own).decode(tokens, lengths, read, state) for own, read, state in each]
        logits = torch.stack([own for own, _ in found]).float()
        return mean_of_probabilities(logits), torch.cat([state for _, state in found])
