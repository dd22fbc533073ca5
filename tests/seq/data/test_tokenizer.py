from hypothesis import given
from hypothesis import strategies as st

from seq.data.tokenizer import BOS, UNKNOWN, Tokenizer

Texts = st.lists(st.text(), min_size=1, max_size=6)


@given(Texts, st.sampled_from(["bytes", "characters", "words", "subwords"]))
def test_round_trip(texts: list[str], kind: str) -> None:
    tokenizer = Tokenizer.train(kind, texts, lowercase=False, min_count=1)  # type: ignore[arg-type]
    encoded = tokenizer.encode(texts)
    ends = list(zip(encoded.offsets[:-1], encoded.offsets[1:], strict=True))
    assert [tokenizer.decode(encoded.values[start:stop].tolist()) for start, stop in ends] == texts
    assert ["".join(tokenizer.decode_each(encoded.values[start:stop].tolist())) for start, stop in ends] == texts
    assert encoded.values.max(initial=0) < tokenizer.vocab_size
    assert tokenizer.count_characters(encoded.values) == sum(map(len, texts))
    assert Tokenizer(**tokenizer.to_dict()) == tokenizer


def test_rare_and_new_characters_are_unknown() -> None:
    tokenizer = Tokenizer.train("characters", ["a" * 400 + "b", "ac"], lowercase=False, min_count=2)
    assert tokenizer.characters == "a"
    assert tokenizer.encode(["abz"]).values.tolist() == [4, UNKNOWN, UNKNOWN]
    assert tokenizer.decode([4, UNKNOWN, BOS]) == "a\ufffd"
    assert tokenizer.unknown("bz a") == [" ", "b", "z"]


def test_no_text_is_mostly_unknown() -> None:
    """Characters that are rare in a short text are known: 1 % of it at most becomes unknown."""
    once = "".join(map(chr, range(0x4E00, 0x4E00 + 300)))
    assert len(Tokenizer.train("characters", [once], lowercase=False, min_count=3).characters) == 300
    mixed = Tokenizer.train("characters", [once[:50] * 2 + "ab" * 4000 + "xyz"], lowercase=False, min_count=3)
    assert len(mixed.characters) == 52


def test_lower_case_that_changes_the_length() -> None:
    tokenizer = Tokenizer.train("characters", ["İ"], lowercase=True, min_count=1)
    encoded = tokenizer.encode(["İ", "i"])
    assert encoded.lengths.tolist() == [2, 1]


def test_broken_utf8_is_shown_not_raised() -> None:
    assert Tokenizer(kind="bytes").decode([4 + 0xFF, 4 + ord("a"), 0, 1]) == "\ufffda"
