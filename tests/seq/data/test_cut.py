import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seq.data.cut import Unit, cut_streams, frame, newline_id, split_long, unit_end
from seq.data.tokenizer import BOS, EOS, Tokenizer

TOKENIZER = Tokenizer.train("characters", ["ab\n "], lowercase=False, min_count=1)
Documents = st.lists(st.text("ab\n ", max_size=40), min_size=1, max_size=5)
Units = st.sampled_from(["line", "paragraph", "document", "chunk"])


def cut(documents: list[str], unit: Unit, max_length: int) -> list[list[int]]:
    sequences = cut_streams(frame(TOKENIZER.encode(documents)), unit, newline_id(TOKENIZER))
    sequences = split_long(sequences, max_length)
    bounds = zip(sequences.offsets[:-1], sequences.offsets[1:], strict=True)
    return [sequences.values[start:stop].tolist() for start, stop in bounds]


def slow_units(document: str, unit: Unit) -> list[str]:
    pattern = {"line": r"[^\n]*\n|[^\n]+", "paragraph": r"(?:(?!\n\n)[\s\S])*\n\n+|[\s\S]+"}.get(unit, r"[\s\S]+")
    return re.findall(pattern, document) or [""]


@given(Documents, Units, st.integers(1, 12))
def test_every_token_is_predicted_exactly_once_after_the_one_before(
    documents: list[str], unit: Unit, max_length: int
) -> None:
    pieces = cut(documents, unit, max_length)
    assert all(2 <= len(piece) <= max_length + 1 for piece in pieces)
    targets = [token for piece in pieces for token in piece[1:]]
    stream = [token for document in documents for token in [*TOKENIZER.encode([document]).values.tolist(), EOS]]
    assert targets == stream
    previous = EOS
    for piece in pieces:
        assert piece[0] == (BOS if previous == EOS else previous)
        previous = piece[-1]


@given(Documents, Units)
def test_units_are_those_of_a_slow_reference(documents: list[str], unit: Unit) -> None:
    expected = [text for document in documents for text in slow_units(document, unit)]
    assert [TOKENIZER.decode(piece[1:]) for piece in cut(documents, unit, 1000)] == expected


def test_unit_end() -> None:
    assert unit_end("paragraph", 7) == [7, 7]
    assert unit_end("line", 7) == [7]
    assert unit_end("chunk", 7) == []
    assert newline_id(Tokenizer(kind="characters", characters="ab")) == -1


@pytest.mark.parametrize("texts", [["ab", "", "c"], [""]])
def test_frame(texts: list[str]) -> None:
    tokenizer = Tokenizer.train("characters", ["abc"], lowercase=False, min_count=1)
    framed = frame(tokenizer.encode(texts))
    assert framed.lengths.tolist() == [len(text) + 2 for text in texts]
    assert (framed.values[framed.offsets[:-1]] == BOS).all()
    assert (framed.values[framed.offsets[1:] - 1] == EOS).all()
