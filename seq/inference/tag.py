"""Tag the tokens of texts of any length with a trained model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from seq.config import Config
from seq.data import punctuation
from seq.data.corpus import Corpus
from seq.data.ragged import RaggedArray
from seq.data.tokenizer import join_tokens
from seq.inference.trained import TrainedModel
from seq.models import Model

TOKENS = 16384
"""Tokens that go through the model together."""


def tag(trained: TrainedModel, texts: Sequence[Sequence[str]]) -> list[list[str]]:
    """The tag of each token of each text. A text longer than `data.max_length` is read in windows of that length that overlap by
    half, and each token's tag comes from the window in which it is farther from an edge."""
    ids = trained.tokenizer.encode([join_tokens(text) for text in texts if text])
    tagged = iter(
        [_tag(trained, ids.values[start:stop]) for start, stop in zip(ids.offsets[:-1], ids.offsets[1:], strict=True)]
    )
    return [next(tagged) if text else [] for text in texts]


@torch.inference_mode()
def _tag(trained: TrainedModel, tokens: np.ndarray) -> list[str]:
    size, found = trained.config.data.max_length, np.empty(len(tokens), np.int64)
    stride = max(1, size // 2)
    starts = np.arange(0, max(1, len(tokens) - size + stride), stride)
    windows = RaggedArray.of([tokens[start : start + size] for start in starts])
    edge = (size - stride) // 2  # half of what two windows share
    together = max(1, TOKENS // size)
    for first in range(0, len(starts), together):
        rows = np.arange(first, min(first + together, len(starts)))
        inputs, lengths = (torch.from_numpy(part) for part in windows.pad(rows))
        best = trained.model(inputs.to(trained.device), lengths)[0].argmax(-1).cpu().numpy()
        for row, own in zip(rows, best, strict=True):
            start, stop = starts[row], min(starts[row] + size, len(tokens))
            # What a later window knows better, it writes over.
            skip = edge if row else 0
            found[start + skip : stop] = own[skip : stop - start]
    return [trained.labels[place] for place in found]


class TagSamples:
    """The first sequences of the validation split with the tags that the model gives them, beside the true ones."""

    NUMBER = 4

    def __init__(self, config: Config, corpus: Corpus) -> None:
        self._config, self._corpus = config, corpus

    def write(self, model: Model, step: int) -> list[dict[str, Any]]:
        """The model stays in training mode."""
        splits, outputs = self._corpus.splits, self._corpus.outputs
        split = splits.get("validation", splits["train"])
        trained = TrainedModel(model.eval(), self._config, self._corpus.tokenizer, outputs, step)
        samples = []
        assert isinstance(split.targets, RaggedArray)
        for row in range(min(self.NUMBER, len(split))):
            ids, tags = (array.take(np.array([row])).values for array in (split.sequences, split.targets))
            tokens, true = trained.tokenizer.decode(ids).split(" "), [outputs.labels[tag] for tag in tags]
            found = {"text": show(trained, tokens, _tag(trained, ids)), "truth": show(trained, tokens, true)}
            samples.append({"prompt": ""} | found)
        model.train()
        return samples


def show(trained: TrainedModel, tokens: Sequence[str], tags: Sequence[str]) -> str:
    """For people: the restored text of a model of `punctuation`, else a line for each token, with its tag after a tab."""
    if punctuation.restores(trained.labels):
        return punctuation.restore(tokens, tags)
    return "\n".join(f"{token}\t{own}" for token, own in zip(tokens, tags, strict=True)) + "\n"
