"""Write the outputs of an encoder-decoder for texts: pronunciations of words, and the like."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from seq.config import Config
from seq.data.corpus import Corpus
from seq.data.cut import frame
from seq.data.ragged import RaggedArray
from seq.data.tokenizer import BOS, EOS
from seq.errors import UserError
from seq.inference.trained import TrainedModel
from seq.models import Model, Seq2Seq
from seq.models.search import Found, search

ROWS = 128
"""Texts that go through the model together."""


class Output(NamedTuple):
    text: str
    probability: float
    """The probability of the whole output, or of its beginning if it was cut off at `data.max_length`."""


def decode(
    trained: TrainedModel, texts: Iterable[str], *, beam: int = 5, nbest: int = 1
) -> Iterator[tuple[str, list[Output]]]:
    """For each text its `nbest` likeliest outputs that a search with `beam` beams finds, the likeliest first. UserError for a text
    longer than `data.max_length`, or without any character."""
    remaining = iter(texts)
    while batch := list(islice(remaining, ROWS)):
        found = _search(trained, *_read(trained, batch), beam=max(beam, nbest))
        for text, tokens, totals in zip(batch, found.tokens.tolist(), found.log_probabilities.tolist(), strict=True):
            best = zip(tokens[:nbest], totals[:nbest], strict=True)
            yield text, [Output(_text(trained, ids), math.exp(total)) for ids, total in best if total > -math.inf]


def _search(trained: TrainedModel, inputs: Tensor, lengths: Tensor, *, beam: int) -> Found:
    """The targets of training are no longer than `data.max_length`, and so are outputs."""
    assert isinstance(trained.model, Seq2Seq)
    most = trained.config.data.max_length + 1
    return search(trained.model, inputs.to(trained.device), lengths, beam=beam, most=most)


def _read(trained: TrainedModel, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    limit, encoded = trained.config.data.max_length, trained.encode(texts)
    for text, length in zip(texts, encoded.lengths.tolist(), strict=True):
        if not 0 < length <= limit:
            reason = f"{length} tokens, more than data.max_length={limit}" if length else "there is nothing to read"
            raise UserError(f"{text[:60]!r}: {reason}")
    inputs, lengths = frame(encoded).pad(np.arange(len(texts)))
    return torch.from_numpy(inputs), torch.from_numpy(lengths)


def _text(trained: TrainedModel, ids: Sequence[int]) -> str:
    assert trained.outputs.tokenizer is not None
    return trained.outputs.tokenizer.decode(ids)


@torch.inference_mode()
def attention(trained: TrainedModel, inputs: Tensor, ids: Sequence[int]) -> dict[str, Any]:
    """Return the decoder's attention to `inputs` (1, S) while it wrote `ids`: `source` and `target` tokens, and `weights` by target and
    source token."""
    assert isinstance(trained.model, Seq2Seq)
    assert trained.outputs.tokenizer is not None
    written = [token for token in ids if token > EOS]
    before = torch.tensor([[BOS, *written]], device=trained.device)
    sizes = torch.tensor([inputs.shape[1]]), torch.tensor([before.shape[1]])
    weights = trained.model.attention(inputs.to(trained.device), sizes[0], before, sizes[1])[0].float().cpu()
    source = ["<", *(trained.tokenizer.decode([token]) for token in inputs[0, 1:-1].tolist()), ">"]
    target = [*(trained.outputs.tokenizer.decode([token]) for token in written), ">"]
    return {"source": source, "target": target, "weights": [[round(w, 3) for w in row] for row in weights.tolist()]}


class PairSamples:
    """Sources of the validation split, spread over it, with the outputs of the model beside the true ones, and what it looked at."""

    NUMBER, PICTURES = 12, 3

    def __init__(self, config: Config, corpus: Corpus) -> None:
        self._config, self._corpus = config, corpus

    def write(self, model: Model, step: int) -> list[dict[str, Any]]:
        """The model stays in training mode."""
        corpus, split = self._corpus, self._corpus.splits.get("validation", self._corpus.splits["train"])
        trained = TrainedModel(model.eval(), self._config, corpus.tokenizer, corpus.outputs, step)
        assert isinstance(split.targets, RaggedArray)
        rows = np.unique(np.linspace(0, len(split) - 1, self.NUMBER).astype(np.int64))
        samples: list[dict[str, Any]] = []
        for row in rows:
            inputs, lengths = (torch.from_numpy(part) for part in split.sequences.pad(row[None]))
            target = split.targets.take(row[None]).values.tolist()
            said = _search(trained, inputs, lengths, beam=self._config.evaluation.beam).tokens[0, 0].tolist()
            prompt = corpus.tokenizer.decode(inputs[0].tolist())
            sample: dict[str, Any] = {
                "prompt": prompt,
                "text": f": {_text(trained, said)}",
                "truth": _text(trained, target),
            }
            if len(samples) < self.PICTURES:
                sample["attention"] = attention(trained, inputs, said)
            samples.append(sample)
        model.train()
        return samples
