"""How far a run is, and how fast it goes."""

from dataclasses import dataclass

from seq.data.plan import Piece
from seq.training.ledger import Ledger


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

    def advance(self, shards: list[Piece]) -> None:
        """One step further."""
        tokens = sum(shard.tokens for shard in shards)
        self.step += 1
        self.tokens_seen += tokens
        self.padded_tokens += sum(shard.padded_tokens for shard in shards)
        self.examples_seen += sum(shard.rows for shard in shards)
        self.imbalance_sum += max(shard.tokens for shard in shards) * len(shards) / tokens - 1

    def figures(self) -> dict[str, float]:
        """Counts, padding's share of the tokens computed, and the mean imbalance."""
        return {
            "tokens_seen": self.tokens_seen,
            "examples_seen": self.examples_seen,
            "padding_fraction": 1 - self.tokens_seen / max(1, self.padded_tokens),
            "imbalance": self.imbalance_sum / max(1, self.step),
        }


class Speed:
    """Tokens per second since the last reading, in the time of training alone."""

    def __init__(self, tokens_seen: int, ledger: Ledger) -> None:
        self._tokens, self._seconds = tokens_seen, ledger.spent("data", "compute")

    def read(self, tokens_seen: int, ledger: Ledger) -> float:
        tokens, self._tokens = tokens_seen - self._tokens, tokens_seen
        before, self._seconds = self._seconds, ledger.spent("data", "compute")
        return tokens / (self._seconds - before)
