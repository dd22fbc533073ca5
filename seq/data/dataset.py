"""A split as a torch data set whose item is a whole padded batch: collating is one gather, not a loop."""

from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from seq.data.corpus import Corpus, Split
from seq.data.plan import Pieces, Shard
from seq.data.ragged import Ints, pad_slices

IGNORE_INDEX = -100
"""A target that carries no loss: `cross_entropy`'s own default."""


MOVED = ("inputs", "targets", "continues")
"""What of a batch the device needs."""


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
    pieces: Pieces
    """Rows and tokens of all shards of the step."""
    continues: Tensor | None = None
    """(B,) bool, in stream order: the row goes on where it ended in the step before."""

    def to(self, device: torch.device) -> Self:
        """Inputs and targets on `device`; the copy overlaps with computing if they are pinned."""
        moved = {
            name: value.to(device, non_blocking=True) for name in MOVED if (value := getattr(self, name)) is not None
        }
        return self._replace(**moved)


class SequenceDataset(Dataset[Batch]):
    """`dataset[shard]` gathers the shard. An empty shard becomes one row of padding without a target: weight 0."""

    def __init__(self, split: Split) -> None:
        self.sequences, self.labels, self.line = split.sequences, split.labels, split.line

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, shard: Shard) -> Batch:
        rows, windows = shard.sequences, shard.windows
        starts, stops = self.sequences.offsets[rows], self.sequences.offsets[rows + 1]
        if windows is not None:
            starts = starts + windows.begin
            stops = starts + windows.length + 1
        continues = None if windows is None else torch.from_numpy(windows.continues)
        if len(rows) == 0:
            empty = torch.zeros(1, 1, dtype=torch.int64)
            targets = torch.full_like(empty if self.labels is None else empty[0], IGNORE_INDEX)
            inputs, lengths = empty, torch.ones(1, dtype=torch.int64)
        elif self.labels is None:
            inputs, lengths, targets = _next_tokens(*pad_slices(self.sequences.values, starts, stops))
        else:
            padded, row_lengths = pad_slices(self.sequences.values, starts, stops)
            inputs, lengths = torch.from_numpy(padded), torch.from_numpy(row_lengths)
            targets = torch.from_numpy(self.labels[rows].astype(np.int64))
        return Batch(
            inputs, lengths, targets, shard.step, shard.shard, self.num_targets(shard.pieces), shard.pieces, continues
        )

    def num_targets(self, pieces: Pieces) -> int:
        """Predictions that carry loss: one a sequence (labels), or one a time step."""
        return int((pieces.tokens if self.labels is None else pieces.rows).sum())


def decode_rows(batch: Batch, corpus: Corpus) -> list[dict[str, str]]:
    """For people: `text` of each row, for a classifier with its `label`; a dummy row is left out."""
    rows = zip(batch.inputs.tolist(), batch.lengths.tolist(), batch.targets.tolist(), strict=True)
    decode = corpus.tokenizer.decode
    if not corpus.labels:
        return [{"text": decode(tokens[:length])} for tokens, length, targets in rows if targets[0] >= 0]
    labelled = [(decode(tokens[:length]), target) for tokens, length, target in rows]
    return [{"text": text, "label": corpus.labels[target]} for text, target in labelled if target >= 0]


def _next_tokens(padded: Ints, stored: Ints) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs are all tokens but the last, targets all but the first; a row without any is one step of padding."""
    padded = padded if padded.shape[1] > 1 else np.pad(padded, ((0, 0), (0, 1)))
    tokens, lengths = torch.from_numpy(padded), torch.from_numpy(stored - 1)
    outside = torch.arange(tokens.shape[1] - 1) >= lengths[:, None]
    return (
        tokens[:, :-1].masked_fill(outside, 0),
        lengths.clamp(min=1),
        tokens[:, 1:].masked_fill(outside, IGNORE_INDEX),
    )
