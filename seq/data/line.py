"""The line: all sequences of a split, the longest first. Made once with the corpus, and read from the disk as needed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from seq.data.ragged import Ints, smallest_dtype


@dataclass(frozen=True)
class Line:
    """K classes of equal length. In memory is only the histogram; `order` may be a mapped file."""

    length: Ints
    """(K,) time steps of each class, falling."""
    start: Ints
    """(K + 1,) where in the line each class begins; the last is the number of sequences."""
    order: Ints
    """(n,) the sequence (row of the data set) at each place; among equals, in the order of the data set."""

    @classmethod
    def of(cls, lengths: Ints) -> Self:
        """`lengths` (n,): time steps of each sequence, n >= 1."""
        order = np.argsort(-lengths.astype(np.int64), kind="stable")
        distinct, counts = np.unique(lengths, return_counts=True)
        start = np.concatenate(([0], np.cumsum(counts[::-1])))
        return cls(distinct[::-1].astype(np.int64), start, order.astype(smallest_dtype(len(order))))

    def __len__(self) -> int:
        return int(self.start[-1])

    def save(self, stem: Path) -> None:
        """Write `<stem>.length.npy`, `<stem>.start.npy` and `<stem>.order.npy`."""
        for part in ("length", "start", "order"):
            np.save(f"{stem}.{part}.npy", getattr(self, part))

    @classmethod
    def open(cls, stem: Path) -> Self:
        """The histogram, and the order as a mapped file: ranks share its pages, and a step reads its own rows."""
        length, start = (np.load(f"{stem}.{part}.npy") for part in ("length", "start"))
        return cls(length, start, np.asarray(np.load(f"{stem}.order.npy", mmap_mode="r")))
