"""How far a run is, and how fast it goes."""

from dataclasses import dataclass

from seq.data.plan import Pieces
from seq.training.ledger import Ledger

TRAINING = ("data", "compute", "sync")
"""The causes in the ledger that are training itself."""


@dataclass(kw_only=True)
class Progress:
    """What a checkpoint keeps beside weights and optimizer. Data order and randomness follow from (seed, step), and
    all counts are of whole steps: nothing here knows of ranks."""

    step: int = 0
    """Steps done."""
    tokens_seen: int = 0
    """Time steps of all sequences so far, padding not counted."""
    padded_tokens: int = 0
    """The same with padding."""
    examples_seen: int = 0
    imbalance_sum: float = 0.0
    """Sum over steps of (most tokens in a shard) / (mean over the shards) - 1; ranks differ by this at most."""

    bad_steps: int = 0
    """Steps whose loss or gradient was not finite; they changed nothing."""
    bad_in_a_row: int = 0
    overflow_steps: int = 0
    """Steps that fp16's loss scale was too high for; they changed nothing either."""

    def advance(self, shards: Pieces) -> None:
        """One step further."""
        tokens = int(shards.tokens.sum())
        self.step += 1
        self.tokens_seen += tokens
        self.padded_tokens += int(shards.padded_tokens.sum())
        self.examples_seen += int(shards.rows.sum())
        self.imbalance_sum += int(shards.tokens.max()) * len(shards.tokens) / tokens - 1

    def figures(self) -> dict[str, float]:
        """Counts, padding's share of the tokens computed, and the mean imbalance."""
        return {
            "tokens_seen": self.tokens_seen,
            "examples_seen": self.examples_seen,
            "padding_fraction": 1 - self.tokens_seen / max(1, self.padded_tokens),
            "imbalance": self.imbalance_sum / max(1, self.step),
            "bad_steps": self.bad_steps,
            "overflow_steps": self.overflow_steps,
        }


class Speed:
    """Tokens per second since the last reading, in the time of training alone."""

    def __init__(self, tokens_seen: int, ledger: Ledger) -> None:
        self._tokens, self._seconds = tokens_seen, ledger.spent(*TRAINING)

    def read(self, tokens_seen: int, ledger: Ledger) -> float:
        tokens, self._tokens = tokens_seen - self._tokens, tokens_seen
        before, self._seconds = self._seconds, ledger.spent(*TRAINING)
        return tokens / (self._seconds - before)
