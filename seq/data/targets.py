"""What the data room needs to know of a task. The tasks themselves are in `seq.tasks`."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from seq.config import DataConfig
from seq.data.examples import Examples, Target
from seq.data.outputs import Coded, Outputs
from seq.data.plan import ShardSizes
from seq.data.ragged import Ints, RaggedArray
from seq.data.tokenizer import Tokenizer

Encoded = tuple[RaggedArray, Coded]
"""Sequences with their markers, and their targets."""


class Targets(Protocol):
    """The part of `seq.tasks.Task`, which documents it, that has to do with data."""

    @property
    def name(self) -> str: ...
    @property
    def labelled(self) -> bool: ...
    @property
    def predicts_text(self) -> bool: ...
    @property
    def reads_tokens(self) -> bool: ...

    def read(self, value: Any, config: DataConfig) -> Target: ...
    def learn(self, targets: Sequence[Any], config: DataConfig) -> Outputs: ...
    def labels(self, target: Any) -> Sequence[str]: ...
    def encode(
        self,
        splits: Mapping[str, Examples],
        tokenizer: Tokenizer,
        outputs: Outputs,
        config: DataConfig,
        notes: list[str],
    ) -> dict[str, Encoded]: ...
    def time_steps(self, sequences: RaggedArray, coded: Coded) -> Ints: ...
    def count(self, sizes: ShardSizes) -> int: ...
    def batch(self, padded: Ints, stored: Ints, chosen: Any, outputs: Outputs) -> dict[str, Tensor]: ...
    def show(self, target: Any, outputs: Outputs) -> str | None: ...
