"""A split as a torch data set whose item is a whole padded batch: collating is one gather, not a loop."""

from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from seq.data.corpus import Corpus, Split
from seq.data.plan import Piece, Shard
from seq.data.ragged import Ints

IGNORE_INDEX = -100
"""A target that carries no loss: `cross_entropy`'s own default."""


class Batch(NamedTuple):
    """One shard, ready for the model. B rows, T time steps of the longest."""

    inputs: Tensor
    """(B, T) int64, zero after each row's end."""
    lengths: Tensor
    """(B,) int64, at least 1, always on the CPU (where `pack_padded_sequence` wants them)."""
    targets: Tensor
    """(B,) labels or (B, T) next tokens, int64; IGNORE_INDEX where there is none."""
    step: int
    shard: int
    num_targets: int
    """Targets of the whole step, over all shards and ranks: what the loss is divided by."""
    whole: Piece
    """The whole step."""

    def to(self, device: torch.device) -> Self:
        """Inputs and targets on `device`; the copy overlaps with computing if they are pinned."""
        inputs, targets = (tensor.to(device, non_blocking=True) for tensor in (self.inputs, self.targets))
        return self._replace(inputs=inputs, targets=targets)


class SequenceDataset(Dataset[Batch]):
    """`dataset[shard]` gathers the shard. An empty shard becomes one row of padding without a target: weight 0."""

    def __init__(self, split: Split) -> None:
        self.sequences, self.labels, self.line = split.sequences, split.labels, split.line

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, shard: Shard) -> Batch:
        rows = shard.sequences
        if len(rows) == 0:
            empty = torch.zeros(1, 1, dtype=torch.int64)
            targets = torch.full_like(empty if self.labels is None else empty[0], IGNORE_INDEX)
            inputs, lengths = empty, torch.ones(1, dtype=torch.int64)
        elif self.labels is None:
            inputs, lengths, targets = _next_tokens(*self.sequences.pad(rows))
        else:
            padded, row_lengths = self.sequences.pad(rows)
            inputs, lengths = torch.from_numpy(padded), torch.from_numpy(row_lengths)
            targets = torch.from_numpy(self.labels[rows].astype(np.int64))
        return Batch(inputs, lengths, targets, shard.step, shard.shard, self.num_targets(shard.whole), shard.whole)

    def num_targets(self, piece: Piece) -> int:
        """Predictions that carry loss: one a sequence (labels), or one a time step."""
        return piece.tokens if self.labels is None else piece.rows


def decode_rows(batch: Batch, corpus: Corpus) -> list[dict[str, str]]:
    """For people: `text` of each row, for a classifier with its `label`; a dummy row is left out."""
    rows = zip(batch.inputs.tolist(), batch.lengths.tolist(), batch.targets.tolist(), strict=True)
    decode = corpus.tokenizer.decode
    if not corpus.labels:
        return [{"text": decode(tokens[:length])} for tokens, length, targets in rows if targets[0] >= 0]
    labelled = [(decode(tokens[:length]), target) for tokens, length, target in rows]
    return [{"text": text, "label": corpus.labels[target]} for text, target in labelled if target >= 0]


def _next_tokens(padded: Ints, stored: Ints) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs are all tokens but the last, targets all but the first."""
    tokens, lengths = torch.from_numpy(padded), torch.from_numpy(stored - 1)
    outside = torch.arange(tokens.shape[1] - 1) >= lengths[:, None]
    return tokens[:, :-1].masked_fill(outside, 0), lengths, tokens[:, 1:].masked_fill(outside, IGNORE_INDEX)
