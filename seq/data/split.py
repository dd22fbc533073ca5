"""One split of a corpus: its sequences with their targets, sorted by length."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seq.data.order import LengthOrder
from seq.data.outputs import Coded, Outputs
from seq.data.ragged import Ints, RaggedArray
from seq.data.targets import Targets

NO_OUTPUTS = Outputs()


@dataclass(frozen=True, kw_only=True)
class Split:
    """The sequences of one split with their targets, prepared for a task."""

    sequences: RaggedArray
    targets: Coded
    by_length: LengthOrder
    num_characters: int
    """Characters of text in a language model's targets. With the byte tokenizer, fewer than the tokens."""
    unknown_bits: float = 0.0
    """Bits that identify the characters outside the vocabulary: for each, log2 of the number of different ones in the text."""
    task: Targets
    outputs: Outputs

    @classmethod
    def of(
        cls, sequences: RaggedArray, targets: Coded, num_characters: int, task: Targets, outputs: Outputs = NO_OUTPUTS
    ) -> "Split":
        """Sorts the sequences by length."""
        by_length = LengthOrder.of(task.time_steps(sequences, targets))
        return cls(
            sequences=sequences,
            targets=targets,
            by_length=by_length,
            num_characters=num_characters,
            task=task,
            outputs=outputs,
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What is kept of it, by the end of the file's name."""
        found: dict[str, NDArray[Any]] = {"values": self.sequences.values, "offsets": self.sequences.offsets}
        found |= {part: getattr(self.by_length, part) for part in ("lengths", "start", "order")}
        if isinstance(self.targets, RaggedArray):
            return found | {"targets.values": self.targets.values, "targets.offsets": self.targets.offsets}
        return found if self.targets is None else found | {"targets": self.targets}

    def __len__(self) -> int:
        return len(self.sequences)

    @property
    def lengths(self) -> Ints:
        """Time steps of each sequence; of pairs, those of source and target together."""
        steps = self.task.time_steps(self.sequences, self.targets)
        return steps if steps.ndim == 1 else np.asarray(steps.sum(1))
