"""Words and tags of a text give the text back, up to what is not said; and the splits are those of speeches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seq.data.punctuation import MARKS, load, restore, restores, tagged_words
from seq.data.speeches import TEST, documents
from seq.errors import UserError

WORD = st.sampled_from(["we", "Congress", "I", "NATO", "3,000", "$5", "Obama's", "hard-working", "50%", "don't"])


@given(st.lists(st.tuples(WORD, st.sampled_from(MARKS)), min_size=1, max_size=12))
def test_a_text_comes_back(pairs: list[tuple[str, str]]) -> None:
    text = "".join(word + mark + ("" if mark == "\u2014" else " ") for word, mark in pairs).strip()
    words, tags = zip(*tagged_words(text), strict=True)
    assert words == tuple(word.lower() for word, _ in pairs)
    assert restore(words, tags) == text
    assert restores(tags)


def test_what_is_not_said_is_left_out() -> None:
    text = 'Mr. Speaker [Laughter] said (twice) -- "Yes!" -- in the U.S. of J. Smith, I hope.'
    words, tags = zip(*tagged_words(text), strict=True)
    assert restore(words, tags) == "Mr. Speaker said\u2014Yes! in the U.S. of J. Smith, I hope."


def test_splits() -> None:
    splits = load("since-2000", labelled=True)
    assert [len(splits[name].texts) for name in ("validation", "test")] == [1, 1]
    assert str(splits["test"].texts[0]).startswith("thank you mr. speaker mr. vice president members of congress")
    for split in splits.values():
        assert split.targets is not None
        assert all(str(text).count(" ") + 1 == len(tags) for text, tags in zip(split.texts, split.targets, strict=True))
    assert len(str(splits["test"].texts[0]).split()) > 5000 < len(documents()[TEST].split())


def test_only_for_taggers() -> None:
    with pytest.raises(UserError, match=r"model\.kind=tagger"):
        load(None, labelled=False)


def test_other_labels_are_no_tags_of_this_set() -> None:
    assert not restores(())
    assert not restores(("B-PER", "O"))
    assert not restores(("a|x",))
