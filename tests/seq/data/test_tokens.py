"""Texts of whole tokens, and the signatures of rare ones."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from seq.data.tokenizer import UNKNOWN, Tokenizer
from seq.data.tokens import MIN_RARE_TOKENS, Tokens, join_tokens, signatures, split_tokens

Words = st.lists(st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=8), min_size=1, max_size=60)
VERBS = [f"{letter}ending" for letter in "bfghlmprstvw"]


@given(Words, st.integers(1, 4), st.integers(1, 50))
def test_frequent_tokens_come_back_and_others_are_read_by_their_endings(
    words: list[str], least: int, size: int
) -> None:
    vocabulary = Tokens.train([" ".join(words)], size=size, min_count=least)
    counted, ids = Counter(words), vocabulary.encode([" ".join(words)]).values.tolist()
    known = {word for word, _ in counted.most_common(size) if counted[word] >= least}
    rare = counted.keys() - known if least > 1 else set()
    shared = Counter(name for word in rare for name in signatures(word))
    for word, place in zip(words, ids, strict=True):
        read_as = [name for name in (word, *signatures(word)) if name in known or shared[name] >= MIN_RARE_TOKENS]
        assert (vocabulary.entries[place] if place >= 0 else None) == next(iter(read_as), None)
        assert vocabulary.decode([place]) == (word if word in known else "\ufffd")
    assert vocabulary.unknown(" ".join(words)) == sorted(
        {word for word, place in zip(words, ids, strict=True) if place < 0}
    )


def test_a_new_token_is_read_as_rare_ones_of_its_kind() -> None:
    text = " ".join([*["the"] * 20, *VERBS, *map(str.title, VERBS), *(f"{number}th" for number in range(20))])
    tokenizer = Tokenizer.train("tokens", [text], lowercase=False, min_count=2)

    def read_as(word: str) -> str | None:
        (token,) = tokenizer.encode([word]).values
        assert tokenizer.tokens is not None
        return None if token == UNKNOWN else tokenizer.tokens.entries[token - 4]

    assert [read_as(word) for word in ("the", "spending", "Spending", "1000th", "king", "x", "U2")] == [
        *("the", " ading", " Ading", " 0th", " aing", " a", " 0"),
    ]
    assert Tokenizer(**tokenizer.to_dict()) == tokenizer
    plain = Tokenizer.train("tokens", [text], lowercase=False, min_count=1)
    assert plain.encode(["spending bending"]).values.tolist()[0] == UNKNOWN
    assert plain.unknown("the spending") == ["spending"]


@given(st.lists(st.text(min_size=1)))
def test_tokens_as_one_text(tokens: list[str]) -> None:
    assert len(join_tokens(tokens).split(" ")) == max(1, len(tokens))
    assert split_tokens(" a\t b\n") == ["a", "b"]
