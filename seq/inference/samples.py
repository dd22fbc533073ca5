"""The samples of a language model's evaluation, with figures: known words, copied passages, repetition."""

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from launch.seeding import derive_seed
from seq.config import Config
from seq.data.corpus import Corpus
from seq.data.ragged import Ints
from seq.inference.write import Writer
from seq.models import Model
from seq.models.language_model import LanguageModel

GRAM = 20
"""A run of this many tokens that the training text has counts as copied."""
MOST_TOKENS = 20_000_000
"""Tokens of the training text that are searched, so that it takes seconds."""
_BLOCK = 1 << 20


class TextSamples:
    """Writes the samples of `generation.prompts`, and compares them with the training text."""

    def __init__(self, config: Config, corpus: Corpus) -> None:
        self._config, self._corpus = config, corpus
        # Each sequence begins with its token of context, which is the last token of the sequence before.
        self._tokens = corpus.splits["train"].sequences.values[:MOST_TOKENS]

    def write(self, model: Model, step: int) -> tuple[list[dict[str, Any]], dict[str, float]]:
        """The samples with their figures, and the figures of all together. The model stays in training mode."""
        assert isinstance(model, LanguageModel)
        written = list(self._samples(model, step))
        model.train()
        return self.score(written)

    def _samples(self, model: LanguageModel, step: int) -> Iterator[dict[str, Any]]:
        """One sample for each prompt, and for each label if the model writes by label. The text depends on the weights, the
        seed and the step."""
        config, writer = self._config, Writer(model, self._corpus.tokenizer, self._config.data.unit)
        by_label = config.task == "write_by_label"
        labels: list[tuple[int | None, str]] = list(enumerate(self._corpus.labels)) if by_label else [(None, "")]
        for number, prompt in enumerate(config.generation.prompts):
            for label, name in labels:
                key = (step, number) if label is None else (step, number, label)
                seed = derive_seed(config.run.seed, "sample", *key)
                (text,) = writer.generate(prompt, config.generation, seed=seed, label=label)
                yield {"prompt": prompt, "text": text} | ({"label": name} if by_label else {})

    def score(self, samples: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, float]]:
        """Each sample with its figures, and the figures of all together; the training text is searched once for all.
        Prompts are not counted, and a figure without any data is left out.

        `known_words`: share of the words that the training text has. `copied`: share of the runs of GRAM tokens that it has
        (memorisation). `distinct_3`: share of different ones among all runs of three words (Li and others, 2016).
        """
        if not samples:
            return [], {}
        texts = [sample["text"] for sample in samples]
        grams = [_grams(self._corpus.tokenizer.encode([text]).values) for text in texts]
        words = [_words(text) for text in texts]
        found = self._found(np.concatenate(grams))
        each = [self._figures([own], gram, found) for own, gram in zip(words, grams, strict=True)]
        scored = [sample | figures for sample, figures in zip(samples, each, strict=True)]
        return scored, self._figures(words, np.concatenate(grams), found)

    def _figures(
        self, words: list[list[str]], grams: NDArray[np.uint64], found: NDArray[np.uint64]
    ) -> dict[str, float]:
        flat = [word for text in words for word in text]
        triples = [triple for text in words for triple in zip(text, text[1:], text[2:], strict=False)]
        figures: dict[str, float] = {}
        if flat:
            figures["known_words"] = sum(word in self._known for word in flat) / len(flat)
        if len(grams):
            figures["copied"] = float(np.isin(grams, found).mean())
        if triples:
            figures["distinct_3"] = len(set(triples)) / len(triples)
        return figures

    @cached_property
    def _known(self) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(self._tokens), _BLOCK):
            # A word on the border of two blocks is cut. It occurs elsewhere too, or does not matter.
            found |= set(_words(self._corpus.tokenizer.decode(self._tokens[start : start + _BLOCK])))
        return found

    def _found(self, grams: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """The `grams` that the training text has."""
        starts = range(0, len(self._tokens), _BLOCK)
        blocks = (_grams(self._tokens[start : start + _BLOCK + GRAM - 1]) for start in starts)
        return np.unique(np.concatenate([block[np.isin(block, grams)] for block in blocks]))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _grams(tokens: Ints) -> NDArray[np.uint64]:
    """A 64-bit hash of each run of GRAM tokens: a polynomial, modulo 2^64."""
    if len(tokens) < GRAM:
        return np.empty(0, np.uint64)
    values, total = tokens.astype(np.uint64) + np.uint64(1), np.zeros(len(tokens) - GRAM + 1, np.uint64)
    for place in range(GRAM):
        total = total * np.uint64(0x9E3779B97F4A7C15) + values[place : place + len(total)]
    return total
