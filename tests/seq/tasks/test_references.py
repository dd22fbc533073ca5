"""Wrong outputs and wrong tokens, against all targets that a source has."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seq.config import Config
from seq.data.cut import frame
from seq.data.outputs import Outputs
from seq.data.split import Split
from seq.data.tokenizer import Tokenizer
from seq.tasks import TASKS
from seq.tasks.references import References, tokens_of
from seq.tasks.seq2seq import OutputEvaluator

SOUNDS = ["A0", "A1", "B", "0"]
TOKENIZER = Tokenizer.train("tokens", [" ".join(SOUNDS)], lowercase=False, min_count=1)
Words = st.lists(st.sampled_from(SOUNDS), min_size=1, max_size=5)
Pairs = st.lists(st.tuples(st.sampled_from(["x", "xy", "z"]), Words), min_size=1, max_size=12)


def split_of(pairs: list[tuple[str, list[str]]]) -> Split:
    letters = Tokenizer.train("characters", ["xyz"], lowercase=False, min_count=1)
    sources, targets = (
        letters.encode([text for text, _ in pairs]),
        TOKENIZER.encode([" ".join(own) for _, own in pairs]),
    )
    return Split.of(frame(sources), frame(targets), 0, TASKS["seq2seq"], Outputs(tokenizer=TOKENIZER))


def slow_distance(left: tuple[str, ...], right: tuple[str, ...]) -> int:
    @cache
    def distance(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        same = left[i - 1] == right[j - 1]
        return min(distance(i - 1, j) + 1, distance(i, j - 1) + 1, distance(i - 1, j - 1) + (not same))

    return distance(len(left), len(right))


@given(Pairs, Words)
def test_the_nearest_target_counts(pairs: list[tuple[str, list[str]]], said: list[str]) -> None:
    references, output = References(split_of(pairs), "01"), TOKENIZER.encode([" ".join(said)]).values.tolist()
    first = {text: row for row, (text, _) in reversed(list(enumerate(pairs)))}
    assert np.flatnonzero(references.is_first).tolist() == sorted(first.values())
    for text, row in first.items():
        counts = references.errors([row], [[*output, 2, 0, 0]]).tolist()
        for kind, ignore in enumerate(("", "01")):
            gone = str.maketrans("", "", ignore)
            words = [
                tuple(filter(None, (s.translate(gone) for s in own)))
                for own in (said, *(w for t, w in pairs if t == text))
            ]
            distance, size = min((slow_distance(words[0], own), len(own)) for own in words[1:])
            assert counts[kind] == [1, int(distance > 0), distance, size]


def test_markers_are_no_tokens() -> None:
    assert tokens_of(TOKENIZER, [3]) == ["\ufffd"], "a sound that training did not have is never right"
    assert tokens_of(TOKENIZER, [1, *TOKENIZER.encode(["A1 0 B"]).values.tolist(), 2, 0], ignore="01") == ["A", "B"]


def test_the_standard_error_counts_each_source_once() -> None:
    """Four targets for each of three sources, of which the model has one wrong."""
    split = split_of([(text, ["B", sound]) for text in ("x", "xy", "z") for sound in SOUNDS])
    evaluator = OutputEvaluator(split, Config(), torch.device("cpu"))
    errors = np.array([[3, 1, 2, 6], [3, 1, 2, 6]])
    found = evaluator.result([1.0], [np.array([5, 9]), errors])
    assert found.errors == {"sequence_error": pytest.approx((1 / 3 * 2 / 3 / 3) ** 0.5)}
