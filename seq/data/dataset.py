"""A split as a torch data set whose item is a whole padded batch, built by one gather instead of a loop."""

from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from launch.device import to_device
from seq.config import MAX_NGRAM
from seq.data.corpus import Corpus
from seq.data.examples import SEPARATOR
from seq.data.outputs import Coded
from seq.data.plan import Shard, ShardSizes
from seq.data.ragged import Ints, RaggedArray, pad_slices
from seq.data.split import Split
from seq.data.tokenizer import PAD

MOVED = ("inputs", "targets", "continues", "preceding", "labels", "target_inputs")
"""The parts of a batch that the device needs."""


class Batch(NamedTuple):
    """One shard, ready for the model. B rows, T time steps of the longest."""

    inputs: Tensor
    """(B, T) int64, zero after each row's end."""
    lengths: Tensor
    """(B,) int64, at least 1, always on the CPU, where `pack_padded_sequence` needs them."""
    targets: Tensor
    """The task's targets: (B,) label ids, (B, C) zeros and ones, (B,) numbers, (B, T) next tokens. IGNORE_INDEX, or NaN for a
    number, where there is none."""
    step: int
    shard: int
    num_targets: int
    """Targets of the whole step, over all shards and ranks. The loss is divided by this number."""
    sizes: ShardSizes
    """Rows and tokens of all shards of the step."""
    continues: Tensor | None = None
    """(B,) bool, in stateful order: the row continues where it ended in the step before."""
    preceding: Tensor | None = None
    """(B, MAX_NGRAM - 1) int64, in stateful order: the tokens before the row in its document, else zero."""
    labels: Tensor | None = None
    """(B,) int64, for a language model that writes by label."""
    target_inputs: Tensor | None = None
    """(B, T') int64, for an encoder-decoder: the tokens before its targets."""
    target_lengths: Tensor | None = None
    """(B,) int64, the lengths of these, on the CPU."""
    rows: NDArray[np.int64] | None = None
    """Rows of the data set; none for a dummy row."""

    def arguments(self, hidden: Tensor | None = None) -> dict[str, Tensor]:
        """The keyword arguments of the model; `hidden`: the state to begin with."""
        names = ("inputs", "lengths", "preceding", "labels", "target_inputs", "target_lengths")
        own = {name: getattr(self, name) for name in names}
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
        self.sequences, self.by_length = split.sequences, split.by_length
        self._coded, self._outputs, self._task = split.targets, split.outputs, split.task

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, shard: Shard) -> Batch:
        padded, stored = pad_slices(self.sequences.values, *self._slices(shard))
        own = self._task.batch(padded, stored, self._chosen(shard.sequences), self._outputs)
        if shard.segments is not None:
            own |= {"continues": torch.from_numpy(shard.segments.continues), "preceding": self._preceding(shard)}
        return Batch(
            step=shard.step,
            shard=shard.shard,
            num_targets=self.num_targets(shard.sizes),
            sizes=shard.sizes,
            rows=shard.sequences,
            **own,
        )

    def _chosen(self, rows: Ints) -> Coded:
        if isinstance(self._coded, RaggedArray):
            return self._coded.take(rows)
        return None if self._coded is None else self._coded[rows]

    def _slices(self, shard: Shard) -> tuple[Ints, Ints]:
        """Return where the shard's rows begin and end in the values; one empty row if it has no rows."""
        rows, segments = shard.sequences, shard.segments
        if len(rows) == 0:
            return np.zeros(1, np.int64), np.zeros(1, np.int64)
        starts, stops = self.sequences.offsets[rows], self.sequences.offsets[rows + 1]
        if segments is not None:
            starts = starts + segments.begin
            stops = starts + segments.length + 1
        return starts, stops

    def _preceding(self, shard: Shard) -> Tensor:
        assert shard.segments is not None
        documents = self.sequences.offsets[shard.sequences][:, None]
        places = documents + shard.segments.begin[:, None] + np.arange(1 - MAX_NGRAM, 0)
        tokens = self.sequences.values.take(places, mode="clip").astype(np.int64)
        return torch.from_numpy(tokens * (places >= documents))

    def num_targets(self, sizes: ShardSizes) -> int:
        """Predictions that carry loss."""
        return self._task.count(sizes)


def decode_rows(batch: Batch, corpus: Corpus) -> list[dict[str, str]]:
    """The `text` of each row and, if it has a target of its own, its `label`; a dummy row is left out."""
    show, decode = corpus.task.show, corpus.tokenizer.decode
    found = []
    for tokens, length, target in zip(
        batch.inputs.tolist(), batch.lengths.tolist(), batch.targets.tolist(), strict=True
    ):
        if tokens[0] != PAD:
            text, label = decode(tokens[:length]).replace(SEPARATOR, " | "), show(target, corpus.outputs)
            found.append({"text": text} | ({} if label is None else {"label": label}))
    return found
