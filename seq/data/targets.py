"""Targets by task: how they are read from their column, coded as numbers, and put into a batch.

A task's targets are one class, in `row_targets` or `token_targets`, with the same methods as the others; `TARGETS` has them by
task. Its loss is in `seq.training.objective`, its figures are in `seq.training.scores`.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from seq.config import DataConfig, Task
from seq.data.examples import Examples, Target
from seq.data.outputs import Coded, Outputs
from seq.data.plan import ShardSizes
from seq.data.ragged import Ints, RaggedArray
from seq.data.row_targets import Label, LabelSet, Number
from seq.data.token_targets import NextToken, NextTokenByLabel, Tags, Written


class Targets(Protocol):
    """The targets of one task."""

    def read(self, value: Any, config: DataConfig) -> Target:
        """From a column's value. ValueError says what is wrong with it."""
        ...

    def learn(self, targets: Sequence[Any], config: DataConfig) -> Outputs:
        """Return the outputs of a model that is trained on `targets`."""
        ...

    def labels(self, target: Any) -> Sequence[str]:
        """The labels in a target, of which the training split must have each."""
        ...

    def examples(
        self, tokens: RaggedArray, split: Examples, outputs: Outputs, config: DataConfig, notes: list[str]
    ) -> tuple[RaggedArray, Coded]:
        """The sequences that the model reads, from the `tokens` of each text, with markers, and the coded targets; too long ones are
        treated as `data.too_long` says. UserError for a target that the training data do not have."""
        ...

    def time_steps(self, sequences: RaggedArray, coded: Coded) -> Ints:
        """Return the time steps that the model reads of each sequence with its markers (N,), or of source and target (N, 2)."""
        ...

    def count(self, sizes: ShardSizes) -> int:
        """Predictions that carry loss, in shards of these sizes."""
        ...

    def batch(self, padded: Ints, stored: Ints, chosen: Any, outputs: Outputs) -> dict[str, Tensor]:
        """`inputs`, `lengths` and `targets` of a batch. `padded` (B, T) and `stored` (B,): token ids with their lengths.
        `chosen`: the coded targets of the rows; none if the batch is an empty shard's one row of padding."""
        ...

    def show(self, target: Any, outputs: Outputs) -> str | None:
        """A row's target in a batch, for people; None if it is the text itself."""
        ...


TARGETS: dict[Task, Targets] = {
    "classification": Label(),
    "multilabel": LabelSet(),
    "regression": Number(),
    "language_modeling": NextToken(),
    "conditional_language_modeling": NextTokenByLabel(),
    "tagging": Tags(),
    "seq2seq": Written(),
}
