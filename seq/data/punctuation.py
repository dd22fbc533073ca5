"""The built-in set `punctuation`: give the words of a speech back their capitals and punctuation.

The texts are the addresses of `speeches` as lower-case words without punctuation, like the output of a speech
recogniser. A word's tag says how it was
written and which mark followed it, such as `A|,` for a capital and a comma. Test and validation are those of `speeches`.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from seq.data import speeches
from seq.data.examples import Examples, make_examples
from seq.errors import UserError

PACKAGE = speeches.PACKAGE
PART = "|"
"""Between the parts of a tag."""
CASES = ("a", "A", "AA")
"""A word in lower case, with a capital, or all in capitals."""
MARKS = ("", ",", ".", "?", "!", ";", ":", "\u2014")
ABBREVIATIONS = frozenset("mr mrs ms dr st jr sr gen gov sen rep lt col no vs".split())
"""Their period belongs to the word, as that of initials does."""

_STAGE = re.compile(r"\[[^\]]*\]|\([^)]*\)")
"""[Laughter], (Applause): not said by the speaker."""
_DASHES = re.compile(r"\s*(?:\u2014|\u2013|--+)\s*|\s-\s")
_EDGES = re.compile(r"^[^\w$]*(.*?)[^\w%]*$", re.DOTALL)


def load(subset: str | None, labelled: bool) -> dict[str, Examples]:
    """The splits `train`, `validation` and `test`; subsets are those of `speeches`."""
    if not labelled:
        raise UserError("data.source=punctuation has words with tags; use model.kind=tagger, or data.source=speeches")
    texts = [(name, list(tagged_words(text))) for name, text in speeches.chosen(subset)]
    known = {tag for name, pairs in texts for _, tag in pairs if speeches.split_of(name) == "train"}
    splits = {}
    for split in ("train", "validation", "test"):
        chosen = [pairs for name, pairs in texts if speeches.split_of(name) == split]
        words = [" ".join(word for word, _ in pairs) for pairs in chosen]
        # A word in capitals before a rare mark may be in the test text only.
        tags = [tuple(tag if tag in known else tag.replace("AA", "A") for _, tag in pairs) for pairs in chosen]
        splits[split] = make_examples(split, words, tags)
    return splits


def tagged_words(text: str) -> Iterable[tuple[str, str]]:
    """(word in lower case, tag) of each word. A mark belongs to the word before it."""
    chunks = [*_DASHES.sub(" \u2014 ", _STAGE.sub(" ", text)).split(), ""]
    for chunk, following in pairwise(chunks):
        word, mark = _word_and_mark(chunk)
        if word:
            yield word.lower(), f"{_case(word)}{PART}{mark or (following if following == MARKS[-1] else '')}"


def _word_and_mark(chunk: str) -> tuple[str, str]:
    match = _EDGES.match(chunk)
    word = match[1] if match else ""
    after = chunk[chunk.rfind(word) + len(word) :] if word else ""
    if after.startswith(".") and (word.lower() in ABBREVIATIONS or (re.fullmatch(r"(\w\.)*\w", word) and word != "I")):
        word, after = f"{word}.", after[1:]
    return word, next((sign for sign in after if sign in MARKS), "")


def _case(word: str) -> str:
    letters = [letter for letter in word if letter.isalpha()]
    if not letters or word == word.lower():
        return "a"
    return "AA" if len(letters) > 1 and word == word.upper() else "A"


def restores(labels: Sequence[str]) -> bool:
    """Whether these labels are tags of this set."""
    parts = [label.split(PART) for label in labels]
    return bool(parts) and all(len(own) == 2 and own[0] in CASES and own[1] in MARKS for own in parts)


def restore(words: Sequence[str], tags: Sequence[str]) -> str:
    """The text that the words and their tags stand for."""
    written = (_write(word, *tag.split(PART)) for word, tag in zip(words, tags, strict=True))
    return re.sub(r" ?(\u2014) ?", r"\1", " ".join(written))


def _write(word: str, case: str, mark: str) -> str:
    first = next((place for place, letter in enumerate(word) if letter.isalpha()), 0)
    shown = {"a": word, "A": word[:first] + word[first : first + 1].upper() + word[first + 1 :], "AA": word.upper()}
    return shown[case] + mark
