"""Sequences of uneven length as two flat arrays, `values` and `offsets`; batches are gathered without a loop."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class RaggedArray:
    """Sequence i is `values[offsets[i]:offsets[i + 1]]`."""

    values: Ints
    offsets: Ints

    @classmethod
    def of(cls, rows: Sequence[Ints]) -> "RaggedArray":
        """From one array for each sequence."""
        values = np.concatenate(rows) if len(rows) else np.empty(0, np.int64)
        return cls(values, np.concatenate(([0], np.cumsum([len(row) for row in rows], dtype=np.int64))))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Ints:
        return np.diff(self.offsets)

    def pad(self, rows: Ints) -> tuple[Ints, Ints]:
        """The chosen rows as (B, T) int64, padded with zeros to the longest, and their lengths (B,)."""
        return pad_slices(self.values, self.offsets[rows], self.offsets[rows + 1])

    def take(self, rows: Ints) -> "RaggedArray":
        """The chosen rows, in the given order."""
        return slices(self.values, self.offsets[rows], self.offsets[rows + 1])

    def save(self, stem: Path) -> None:
        """Write `<stem>.values.npy` and `<stem>.offsets.npy`."""
        np.save(f"{stem}.values.npy", self.values)
        np.save(f"{stem}.offsets.npy", self.offsets)

    @classmethod
    def open(cls, stem: Path) -> "RaggedArray":
        """Map the two files read-only: data are read when they are used, and ranks share the pages."""
        # Plain arrays over the mapped files: indexing the subclass np.memmap takes several times as long.
        mapped = (np.load(f"{stem}.{part}.npy", mmap_mode="r") for part in ("values", "offsets"))
        return cls(*(np.asarray(array) for array in mapped))


def pad_slices(values: Ints, starts: Ints, stops: Ints) -> tuple[Ints, Ints]:
    """`values[starts[i]:stops[i]]` as rows (B, T) int64, padded with zeros to the longest; and their lengths."""
    lengths = stops - starts
    columns = np.arange(lengths.max(initial=0))
    # Shorter rows read into their neighbours, and the last rows stop at the last value (`clip`); both are set to zero.
    padded = values.take(starts[:, None] + columns, mode="clip").astype(np.int64)
    padded *= columns < lengths[:, None]
    return padded, lengths


def at_least(padded: Ints, width: int) -> Ints:
    """`padded` (B, T) with zeros after it, where it has fewer than `width` columns."""
    return np.pad(padded, ((0, 0), (0, max(0, width - padded.shape[1]))))


def slices(values: Ints, starts: Ints, stops: Ints) -> RaggedArray:
    """`values[starts[i]:stops[i]]` for all i; the slices may overlap."""
    offsets = np.concatenate(([0], np.cumsum(stops - starts)))
    positions = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], stops - starts)
    return RaggedArray(values[positions], offsets)


def smallest_dtype(largest: int) -> np.dtype[Any]:
    """The smallest unsigned type that holds 0 to `largest`."""
    return np.min_scalar_type(largest)
