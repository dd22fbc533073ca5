"""Error rates of an encoder-decoder: its outputs against all references of a source."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from torch import Tensor

from seq.config import Config
from seq.data.dataset import Batch
from seq.data.ragged import Ints, RaggedArray
from seq.data.split import Split
from seq.data.tokenizer import UNKNOWN, Tokenizer
from seq.models import Model, Seq2Seq
from seq.models.search import search
from seq.training.metrics import Evaluation, seq2seq_metrics
from seq.training.objective import cross_entropy
from seq.training.uncertainty import share_error


class PairScores:
    """The loss and the accuracy of single tokens, with the true ones before them; and of the outputs that a search finds, how
    many are wrong, and by how many tokens. A source may come several times with different targets: each distinct source counts
    once, and the target that is nearest to the output counts."""

    in_chunks = False

    def __init__(self, split: Split, config: Config, device: torch.device) -> None:
        self.sums, self._beam, self._targets = 1, config.evaluation.beam, int(split.by_length.lengths[:, 1].max())
        self._references = References(split, config.evaluation.ignore)
        self._tokens = torch.zeros(2, dtype=torch.int64, device=device)
        self._errors = torch.zeros(2, 4, dtype=torch.int64, device=device)
        self.counts = [self._tokens, self._errors]

    def add(self, model: Model, batch: Batch) -> Tensor:
        assert isinstance(model, Seq2Seq)
        assert batch.rows is not None
        logits = model(**batch.arguments())[0]
        there = batch.targets >= 0
        self._tokens += torch.stack([((logits.argmax(-1) == batch.targets) & there).sum(), there.sum()])
        if len(first := np.flatnonzero(self._references.is_first[batch.rows])):
            chosen = torch.from_numpy(first)
            inputs = batch.inputs.index_select(0, chosen.to(batch.inputs.device))
            # Half as long again as the longest target, in case that a model cannot stop.
            found = search(model, inputs, batch.lengths[chosen], beam=self._beam, most=self._targets * 3 // 2)
            errors = self._references.errors(batch.rows[first], found.tokens[:, 0].tolist())
            self._errors += torch.from_numpy(errors).to(self._errors.device)
        return cross_entropy(logits, batch.targets)[None].double()

    def evaluation(self, sums: list[float], counts: list[NDArray[np.int64]]) -> Evaluation:
        tokens, errors = counts
        plain = errors[1] if self._references.ignore else None
        figures = seq2seq_metrics(sums[0], tokens, errors[0], plain)
        # A source counts once, however many targets it has.
        names = [name for name in ("sequence_error", "plain_sequence_error") if name in figures]
        return Evaluation(
            figures=figures, errors={name: share_error(figures[name], int(errors[0, 0])) for name in names}
        )


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
        """(2, 4): sources, wrong outputs, wrong tokens (insertions, deletions, substitutions), tokens of the nearest target; of all
        characters, and without those that are ignored."""
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
