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
from seq.data.plan import PassRequest, Segments, ShardSizes
from seq.data.ragged import Ints, RaggedArray, pad_slices
from seq.data.split import Split
from seq.data.tokenizer import PAD

MOVED = ("inputs", "targets", "continues", "preceding", "labels", "target_inputs")
"""The parts of a batch that the device needs."""


class Batch(NamedTuple):
    """The S shards of a pass, ready for the model: B rows of each, one shard after another, and T time steps. B and T are those of the
    step, so every shard of a step has one shape."""

    inputs: Tensor
    """(S * B, T) int64, zero after each row's end."""
    lengths: Tensor
    """(S * B,) int64, at least 1, always on the CPU, where `pack_padded_sequence` needs them."""
    targets: Tensor
    """The task's targets: (S * B,) label ids, (S * B, C) zeros and ones, (S * B,) numbers, (S * B, T) next tokens. `Task.no_target` where
    there is none."""
    step: int
    shards: range
    num_targets: int
    """Targets of the whole step, over all shards and ranks. The loss is divided by this number."""
    sizes: ShardSizes
    """Rows and tokens of all shards of the step."""
    rows: NDArray[np.int64]
    """(S * B,) rows of the data set; -1 for a row of padding, where a shard has fewer rows."""
    continues: Tensor | None = None
    """(S * B,) bool, in stateful order: the row continues where it ended in the step before, with that state."""
    preceding: Tensor | None = None
    """(S * B, MAX_NGRAM - 1) int64, in stateful order: the tokens before the row in its document, else zero."""
    labels: Tensor | None = None
    """(S * B,) int64, for a language model that writes by label."""
    target_inputs: Tensor | None = None
    """(S * B, T') int64, for an encoder-decoder: the tokens before its targets."""
    target_lengths: Tensor | None = None
    """(S * B,) int64, the lengths of these, on the CPU."""

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
    """`dataset[shards]` gathers the shards of a pass. Rows of padding have no target, so their weight is 0."""

    def __init__(self, split: Split) -> None:
        self.sequences, self.by_length = split.sequences, split.by_length
        self._coded, self._outputs, self._task = split.targets, split.outputs, split.task

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, shards: PassRequest) -> Batch:
        there = shards.sequences >= 0
        rows, times = shards.sequences[there], shards.sizes.shape[1:]
        padded, stored = pad_slices(self.sequences.values, *self._slices(rows, shards.segments))
        own = self._task.batch(padded, stored, times, self._chosen(rows), self._outputs)
        if not there.all():
            own = {name: self._with_padding(name, values, there) for name, values in own.items()}
        if shards.segments is not None:
            own |= {
                "continues": torch.from_numpy(shards.segments.continues),
                "preceding": self._preceding(rows, shards.segments),
            }
        return Batch(
            step=shards.step,
            shards=shards.numbers,
            num_targets=self.num_targets(shards.sizes),
            sizes=shards.sizes,
            rows=shards.sequences,
            **own,
        )

    def gather(self, rows: NDArray[np.int64]) -> Batch:
        """These rows as one shard, without a plan."""
        lengths = self._task.time_steps(self.sequences.take(rows), self._chosen(rows)).reshape(len(rows), -1)
        counts, tokens = np.array([len(rows)]), lengths.sum(0)
        sizes = ShardSizes(counts, tokens[:1], tokens[-1:], counts, (len(rows), *lengths.max(0).tolist()))
        return self[PassRequest(0, range(1), rows, None, sizes)]

    def _chosen(self, rows: Ints) -> Coded:
        if isinstance(self._coded, RaggedArray):
            return self._coded.take(rows)
        return None if self._coded is None else self._coded[rows]

    def _slices(self, rows: Ints, segments: Segments | None) -> tuple[Ints, Ints]:
        """Where the rows begin and end in the values."""
        starts, stops = self.sequences.offsets[rows], self.sequences.offsets[rows + 1]
        if segments is not None:
            starts = starts + segments.begin
            stops = starts + segments.length + 1
        return starts, stops

    def _with_padding(self, name: str, values: Tensor, there: NDArray[np.bool_]) -> Tensor:
        """Add the rows that are not there."""
        nothing = {"lengths": 1, "target_lengths": 1, "targets": self._task.no_target}
        padded = values.new_full((len(there), *values.shape[1:]), nothing.get(name, 0))
        padded[torch.from_numpy(there)] = values
        return padded

    def _preceding(self, rows: Ints, segments: Segments) -> Tensor:
        documents = self.sequences.offsets[rows][:, None]
        places = documents + segments.begin[:, None] + np.arange(1 - MAX_NGRAM, 0)
        tokens = self.sequences.values.take(places, mode="clip").astype(np.int64)
        return torch.from_numpy(tokens * (places >= documents))

    def num_targets(self, sizes: ShardSizes) -> int:
        """Predictions that carry loss."""
        return self._task.count(sizes)


def decode_rows(batch: Batch, corpus: Corpus) -> list[dict[str, str]]:
    """The `text` of each row and, if it has a target of its own, its `label`; a row of padding is left out."""
    show, decode = corpus.task.show, corpus.tokenizer.decode
    found = []
    for tokens, length, target in zip(
        batch.inputs.tolist(), batch.lengths.tolist(), batch.targets.tolist(), strict=True
    ):
        if tokens[0] != PAD:
            text, label = decode(tokens[:length]).replace(SEPARATOR, " | "), show(target, corpus.outputs)
            found.append({"text": text} | ({} if label is None else {"label": label}))
    return found
