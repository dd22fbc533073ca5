"""Text with its labels, as a source gives it."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Examples:
    """One split. `texts` are documents for a language model, rows for a classifier (then with `labels`)."""

    origin: str
    """The split of the source, for messages: a validation split may be cut from `train`."""
    texts: list[str]
    labels: list[str] | None
    rows: list[int]
    """Number of each in the source, from 1."""

    def take(self, places: Iterable[int]) -> "Examples":
        """The chosen ones, in that order."""
        chosen = [int(place) for place in places]
        return Examples(
            origin=self.origin,
            texts=[self.texts[place] for place in chosen],
            labels=None if self.labels is None else [self.labels[place] for place in chosen],
            rows=[self.rows[place] for place in chosen],
        )


def make_examples(origin: str, texts: list[str], labels: list[str] | None) -> Examples:
    """All rows of a split, numbered from 1."""
    return Examples(origin=origin, texts=texts, labels=labels, rows=list(range(1, len(texts) + 1)))
