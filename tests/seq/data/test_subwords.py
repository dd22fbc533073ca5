"""Words and subwords: exact, and spelled where they are not known."""

import json
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library

from seq.data import subwords
from seq.data.cut import newline_id
from seq.data.subwords import Subwords
from seq.data.tokenizer import Tokenizer

TEXT = "We must not rest. We must work, and work again.\n\nIn 1815 they rested.\n" * 20
LEARN = {"words": Subwords.train_words, "subwords": Subwords.train_subwords}


def pieces(vocabulary: Subwords, text: str) -> list[str]:
    return [vocabulary.bytes_of[token].decode() for token in vocabulary.encode([text]).values]


@pytest.mark.parametrize("kind", LEARN)
def test_known_pieces_are_whole_and_others_are_spelled(kind: str) -> None:
    vocabulary = LEARN[kind]([TEXT], size=400, min_count=2)
    assert pieces(vocabulary, "We must work,\n\nagain") == [
        "We",
        " must",
        " work",
        ",",
        "\n",
        "\n",
        *pieces(vocabulary, "again"),
    ]
    assert pieces(vocabulary, "xyz") == ["x", "y", "z"]


def test_a_small_vocabulary_has_the_most_frequent_words() -> None:
    vocabulary = Subwords.train_words([TEXT], size=258, min_count=1)
    assert len(vocabulary) == 258
    assert [vocabulary.bytes_of[place] for place in (256, 257)] == [b" must", b" work"]


@pytest.mark.parametrize("kind", LEARN)
def test_the_same_text_gives_the_same_vocabulary(kind: str) -> None:
    assert LEARN[kind]([TEXT], size=300, min_count=1).model == LEARN[kind]([TEXT], size=300, min_count=1).model


@given(st.text("ab \n\u00fc\U0001f600", max_size=80), st.integers(1, 9))
def test_blocks_change_nothing(text: str, block: int) -> None:
    vocabulary = Subwords.train_subwords([TEXT], size=300, min_count=1)
    whole = vocabulary.encode([text, "", text])
    with patch.object(subwords, "PART", block):
        parts = vocabulary.encode([text, "", text])
    assert np.array_equal(whole.values, parts.values)
    assert np.array_equal(whole.offsets, parts.offsets)


@pytest.mark.parametrize("kind", ["words", "subwords"])
def test_a_line_feed_is_always_a_token_of_its_own(kind: str) -> None:
    tokenizer = Tokenizer.train(kind, [TEXT], lowercase=True, min_count=1)  # type: ignore[arg-type]
    feed = newline_id(tokenizer)
    ids = tokenizer.encode(["a\n\n \nb"]).values.tolist()
    assert ids.count(feed) == 3
    assert tokenizer.decode([feed]) == "\n"
    assert tokenizer.count_characters(tokenizer.encode(["\u00fc\n\U0001f600"]).values) == 3


@pytest.mark.parametrize("kind", LEARN)
@given(text=st.text(max_size=80) | st.text("We must rk.\n ", max_size=80))
def test_a_vocabulary_that_was_read_is_the_one_that_was_written(kind: str, text: str) -> None:
    vocabulary = LEARN[kind]([TEXT], size=400, min_count=1)
    again, library = Subwords(vocabulary.model), Library.from_str(vocabulary.model)
    assert again.encode([text]).values.tolist() == library.encode(text, add_special_tokens=False).ids
    assert again.bytes_of == vocabulary.bytes_of


def of_a_stranger(**parts: Any) -> str:
    whole = json.loads(Subwords.train_subwords([TEXT], size=300, min_count=1).model)
    return json.dumps(whole | {"model": whole["model"] | parts})


@pytest.mark.parametrize(
    "model",
    [
        "",
        of_a_stranger(vocab="/etc/hostname", merges="/etc/hostname"),
        of_a_stranger(vocab={"a": 0}, merges=[]),
        of_a_stranger(vocab={"a": 0, "b": 0}, merges=[]),
        of_a_stranger(merges=[["a", "?!"]]),
        of_a_stranger(merges=[["a"]]),
    ],
)
def test_what_is_no_vocabulary_is_refused(model: str) -> None:
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        Subwords(model)


def test_nothing_but_pieces_and_merges_is_read() -> None:
    """A stranger's pattern could take for ever, and another normalisation would be another model."""
    whole = json.loads(Subwords.train_subwords([TEXT], size=300, min_count=1).model)
    vocabulary = Subwords(json.dumps(whole | {"normalizer": {"type": "Lowercase"}, "pre_tokenizer": None}))
    assert pieces(vocabulary, "WE\n") == ["W", "E", "\n"]
