"""Figures of samples: do they use words that exist, are they copied, do they repeat themselves."""

import re
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seq.data.corpus import Corpus
from seq.data.ragged import Ints

GRAM = 20
"""So many tokens in a row are copied, not written."""
MOST_TOKENS = 20_000_000
"""As much of the training text is looked through, so that judging takes seconds."""
_BLOCK = 1 << 20


class Judge:
    """Compares samples with the training text of a language model."""

    def __init__(self, corpus: Corpus) -> None:
        sequences = corpus.splits["train"].sequences
        self._tokenizer = corpus.tokenizer
        # A sequence begins with its token of context, the last one of the sequence before.
        self._tokens = sequences.values[:MOST_TOKENS]

    def judge(self, samples: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, float]]:
        """Each sample with its own figures, and those of all together; for them the training text is looked through
        once. Words of prompts are not counted, and a figure without any data is left out.

        `known_words`: share of the words that occur in the training text. `copied`: share of the runs of GRAM tokens
        that do (memorisation). `distinct_3`: share of different ones among all runs of three words (Li and others,
        2016).
        """
        if not samples:
            return [], {}
        texts = [sample["text"] for sample in samples]
        grams = [_grams(self._tokenizer.encode([text]).values) for text in texts]
        words = [_words(text) for text in texts]
        found = self._found(np.concatenate(grams))
        each = [self._figures([own], gram, found) for own, gram in zip(words, grams, strict=True)]
        judged = [sample | figures for sample, figures in zip(samples, each, strict=True)]
        return judged, self._figures(words, np.concatenate(grams), found)

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
            # A word on the border of two blocks is cut; it will occur elsewhere, or not matter.
            found |= set(_words(self._tokenizer.decode(self._tokens[start : start + _BLOCK])))
        return found

    def _found(self, grams: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Those of `grams` that the training text has."""
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
