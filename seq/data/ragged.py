"""Sequences of uneven length as two flat arrays, `values` and `offsets`; batches are gathered without a loop."""

import mmap
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer[Any]]
BLOCK = 1 << 20
"""Values that are copied at once."""
LARGE = 64 << 20
"""Bytes of an array that does not stay in memory while data are prepared."""


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

    @classmethod
    def open(cls, stem: Path) -> "RaggedArray":
        """Map `<stem>.values.npy` and `<stem>.offsets.npy` read-only: data are read when they are used, and ranks share the pages."""
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
    offsets = np.concatenate(([0], np.cumsum(stops - starts, dtype=np.int64)))
    found, first = new_array(int(offsets[-1]), values.dtype), 0
    while first < len(starts):
        # A part at a time: positions take eight times the memory of most values.
        last = max(first + 1, int(np.searchsorted(offsets, offsets[first] + BLOCK, side="right")) - 1)
        if last == first + 1:
            for place in range(0, int(stops[first] - starts[first]), BLOCK):
                part = values[starts[first] + place : min(starts[first] + place + BLOCK, stops[first])]
                found[offsets[first] + place : offsets[first] + place + len(part)] = part
                release(values)
                release(found)
        else:
            own, shifts = offsets[first : last + 1], starts[first:last] - offsets[first:last]
            positions = np.arange(own[0], own[-1]) + np.repeat(shifts, np.diff(own))
            found[own[0] : own[-1]] = values[positions]
        release(values)
        release(found)
        first = last
    return RaggedArray(found, offsets)


_scratch: ContextVar[Path | None] = ContextVar("_scratch", default=None)


@contextmanager
def large_arrays_in(folder: Path) -> Iterator[None]:
    """While this lasts, large arrays lie in files of this folder, which are deleted with the arrays."""
    token = _scratch.set(folder)
    try:
        yield
    finally:
        _scratch.reset(token)


def _scratch_file() -> Any:
    """A file without a name. Its arrays stay mapped when it is closed."""
    return tempfile.TemporaryFile(dir=_scratch.get())


class RaggedWriter:
    """Makes a RaggedArray, part by part, in scratch files."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype, self._values, self._lengths = dtype, _scratch_file(), _scratch_file()
        for file in (self._values, self._lengths):
            weakref.finalize(self, file.close)

    def write(self, values: Ints) -> int:
        """Add a part of a sequence, or several sequences, and return how many values they have."""
        for first in range(0, len(values), BLOCK):
            self._values.write(values[first : first + BLOCK].astype(self._dtype, copy=False).tobytes())
            release(values)
        return len(values)

    def end(self, lengths: Ints) -> None:
        """Say how long the sequences are that were written since the last call."""
        self._lengths.write(lengths.astype(np.int64, copy=False).tobytes())

    def add(self, sequences: RaggedArray) -> None:
        """Add whole sequences."""
        self.write(sequences.values)
        self.end(sequences.lengths)

    def close(self) -> RaggedArray:
        lengths = _mapped(self._lengths, np.dtype(np.int64))
        offsets = new_array(len(lengths) + 1, lengths.dtype)
        offsets[0] = 0
        np.cumsum(lengths, out=offsets[1:])
        return RaggedArray(_mapped(self._values, self._dtype), offsets)


def _mapped(file: Any, dtype: np.dtype[Any]) -> Ints:
    """The content of a scratch file as an array."""
    with file:
        file.flush()
        return np.asarray(np.memmap(file, dtype)) if file.tell() else np.empty(0, dtype)


def new_array(size: int, dtype: np.dtype[Any]) -> Ints:
    """An array to be filled; a large one lies in a scratch file."""
    if _scratch.get() is None or size * dtype.itemsize < LARGE:
        return np.empty(size, dtype)
    with _scratch_file() as file:
        return np.asarray(np.memmap(file, dtype, "w+", shape=(size,)))


def release(array: Any) -> None:
    """Let the memory of a mapped array go while data are prepared; the file keeps its content. A run that trains keeps it."""
    if _scratch.get() is None:
        return
    while array is not None and not hasattr(array, "madvise"):
        array = getattr(array, "base", None)
    if array is not None:
        array.madvise(mmap.MADV_DONTNEED)


def smallest_dtype(largest: int) -> np.dtype[Any]:
    """The smallest unsigned type that holds 0 to `largest`."""
    return np.min_scalar_type(largest)
