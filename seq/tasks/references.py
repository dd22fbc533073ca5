"""The references of an encoder-decoder: its outputs against all targets of a source."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from seq.data.ragged import Ints, RaggedArray
from seq.data.split import Split
from seq.data.tokenizer import UNKNOWN, Tokenizer


class References:
    """All targets of each source. `is_first` (n,): the row is the first one with its source."""

    def __init__(self, split: Split, ignore: str) -> None:
        assert isinstance(split.targets, RaggedArray)
        assert split.outputs.tokenizer is not None
        self.ignore, self._targets, self._tokenizer = ignore, split.targets, split.outputs.tokenizer
        groups: dict[bytes, list[int]] = {}
        for row, source in enumerate(_rows(split.sequences)):
            # Unknown characters may differ.
            key = source.tobytes() if not (source == UNKNOWN).any() else b"row %d" % row
            groups.setdefault(key, []).append(row)
        self._rows_of = {rows[0]: rows for rows in groups.values()}
        self.is_first = np.zeros(len(split), bool)
        self.is_first[list(self._rows_of)] = True

    def errors(self, rows: Iterable[int], outputs: Sequence[Sequence[int]]) -> NDArray[np.int64]:
        """(2, 4): sources, wrong outputs, wrong tokens (insertions, deletions, substitutions), tokens of the nearest target. The first
        row counts all characters, the second leaves out ignored ones."""
        counts = np.zeros((2, 4), np.int64)
        for row, output in zip(rows, outputs, strict=True):
            targets = [self._targets.take(np.array([own])).values.tolist() for own in self._rows_of[int(row)]]
            for kind, ignored in enumerate(("", self.ignore)):
                said, *right = (tokens_of(self._tokenizer, ids, ignored) for ids in (output, *targets))
                distance, size = min((Levenshtein.distance(said, true), len(true)) for true in right)
                counts[kind] += (1, distance > 0, distance, size)
        return counts


def tokens_of(tokenizer: Tokenizer, ids: Iterable[int], ignore: str = "") -> list[str]:
    """The tokens of `ids` as text, without markers and without the characters `ignore`; what is then empty is left out. An unknown
    one is the replacement character, which no output has."""
    gone = str.maketrans("", "", ignore)
    return [token for one in ids if one >= UNKNOWN if (token := tokenizer.decode([one]).translate(gone))]


def _rows(sequences: RaggedArray) -> Iterable[Ints]:
    for start, stop in zip(sequences.offsets[:-1], sequences.offsets[1:], strict=True):
        yield sequences.values[start:stop]
