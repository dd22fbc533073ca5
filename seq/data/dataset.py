"""A split as a torch data set whose item is a whole padded batch, built by one gather instead of a loop."""

from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from launch.device import to_device
from seq.config import MAX_NGRAM
from seq.data.corpus import Corpus, Split
from seq.data.examples import SEPARATOR
from seq.data.plan import Shard, ShardSizes
from seq.data.ragged import Ints, pad_slices

IGNORE_INDEX = -100
"""A target that carries no loss: `cross_entropy`'s own default."""


MOVED = ("inputs", "targets", "continues", "preceding", "labels")
"""The parts of a batch that the device needs."""


class Batch(NamedTuple):
    """One shard, ready for the model. B rows, T time steps of the longest."""

    inputs: Tensor
    """(B, T) int64, zero after each row's end."""
    lengths: Tensor
    """(B,) int64, at least 1, always on the CPU, where `pack_padded_sequence` needs them."""
    targets: Tensor
    """(B,) labels or (B, T) next tokens, int64; IGNORE_INDEX where there is none."""
    step: int
    shard: int
    num_targets: int
    """Targets of the whole step, over all shards and ranks. The loss is divided by this number."""
    sizes: ShardSizes
    """Rows and tokens of all shards of the step."""
    continues: Tensor | None = None
    """(B,) bool, in stream order: the row continues where it ended in the step before."""
    preceding: Tensor | None = None
    """(B, MAX_NGRAM - 1) int64, in stream order: the tokens before the row in its document, else zero."""
    labels: Tensor | None = None
    """(B,) int64, for a language model that writes by label."""

    def arguments(self, hidden: Tensor | None = None) -> dict[str, Tensor]:
        """The keyword arguments of the model; `hidden`: the state to begin with."""
        own = {name: getattr(self, name) for name in ("inputs", "lengths", "preceding", "labels")}
        given = own | {"hidden": hidden}
        return {name: value for name, value in given.items() if value is not None}

    def to(self, device: torch.device) -> Self:
        """The batch on `device`."""
        given = {name: value for name in MOVED if (value := getattr(self, name)) is not None}
        moved: dict[str, Any] = {name: to_device(value, device) for name, value in given.items()}
        return self._replace(**moved)


class SequenceDataset(Dataset[Batch]):
    """`dataset[shard]` gathers the shard. An empty shard becomes one row of padding without a target, so its weight is 0."""

    def __init__(self, split: Split) -> None:
        self.sequences, self.labels = split.sequences, split.labels
        self.by_length, self.task = split.by_length, split.task

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, shard: Shard) -> Batch:
        padded, stored = pad_slices(self.sequences.values, *self._slices(shard))
        common = (shard.step, shard.shard, self.num_targets(shard.sizes), shard.sizes)
        labels = self._labels(shard.sequences)
        if self.task == "classify":
            inputs = torch.from_numpy(_at_least(padded, 1))
            return Batch(inputs, torch.from_numpy(stored).clamp(min=1), labels, *common)
        inputs, lengths, targets = _next_tokens(_at_least(padded, 2), stored)
        continues = None if shard.windows is None else torch.from_numpy(shard.windows.continues)
        given = labels.clamp(min=0) if self.task == "write_by_label" else None
        return Batch(inputs, lengths, targets, *common, continues, self._preceding(shard), given)

    def _slices(self, shard: Shard) -> tuple[Ints, Ints]:
        """Where its rows begin and end in the values; one empty row if it has none."""
        rows, windows = shard.sequences, shard.windows
        if len(rows) == 0:
            return np.zeros(1, np.int64), np.zeros(1, np.int64)
        starts, stops = self.sequences.offsets[rows], self.sequences.offsets[rows + 1]
        if windows is not None:
            starts = starts + windows.begin
            stops = starts + windows.length + 1
        return starts, stops

    def _preceding(self, shard: Shard) -> Tensor | None:
        if shard.windows is None:
            return None
        documents = self.sequences.offsets[shard.sequences][:, None]
        places = documents + shard.windows.begin[:, None] + np.arange(1 - MAX_NGRAM, 0)
        tokens = self.sequences.values.take(places, mode="clip").astype(np.int64)
        return torch.from_numpy(tokens * (places >= documents))

    def _labels(self, rows: Ints) -> Tensor:
        if self.labels is None or len(rows) == 0:
            return torch.full((1,), IGNORE_INDEX)
        return torch.from_numpy(self.labels[rows].astype(np.int64))

    def num_targets(self, sizes: ShardSizes) -> int:
        """Predictions that carry loss: one for each sequence (classifier) or for each time step."""
        return int((sizes.rows if self.task == "classify" else sizes.tokens).sum())


def decode_rows(batch: Batch, corpus: Corpus) -> list[dict[str, str]]:
    """The `text` of each row, for a classifier with its `label`; a dummy row is left out."""
    rows = zip(batch.inputs.tolist(), batch.lengths.tolist(), batch.targets.tolist(), strict=True)
    decode = corpus.tokenizer.decode
    if batch.targets.dim() == 2:
        return [{"text": decode(tokens[:length])} for tokens, length, targets in rows if targets[0] >= 0]
    labelled = [(decode(tokens[:length]).replace(SEPARATOR, " | "), target) for tokens, length, target in rows]
    return [{"text": text, "label": corpus.labels[target]} for text, target in labelled if target >= 0]


def _at_least(padded: Ints, width: int) -> Ints:
    return np.pad(padded, ((0, 0), (0, max(0, width - padded.shape[1]))))


def _next_tokens(padded: Ints, stored: Ints) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs are all tokens but the last, targets all but the first; an empty row is one step of padding."""
    tokens, lengths = torch.from_numpy(padded), torch.from_numpy(stored - 1)
    outside = torch.arange(tokens.shape[1] - 1) >= lengths[:, None]
    inputs = tokens[:, :-1].masked_fill(outside, 0)
    return inputs, lengths.clamp(min=1), tokens[:, 1:].masked_fill(outside, IGNORE_INDEX)
