"""Punctuation and capitals of the set `punctuation`: floors, and what a run reaches. python -m benchmarks.punctuation [RUN ...]

The test address is tagged as a whole. `marks`: mean F1 of comma, period and question mark. `capitals`: F1 of the words that need a
capital. Floors: each word's most frequent tag, and the most frequent tag of the word with its neighbours, as far as they were seen.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from benchmarks.timing import Report
from seq.command_line import exit_code
from seq.data.punctuation import PART, load
from seq.run.trained import load_model
from seq.tasks.tagging import LoadedTagger

MARKS = (",", ".", "?")
SUBSET = "since-1934"
CONTEXTS = {
    "most frequent tag of the word": ((0,),),
    "n-gram tagger, up to 5 words": ((-1, 0, 1, 2, 3), (-1, 0, 1, 2), (-1, 0, 1), (0, 1), (-1, 0), (0,)),
}
"""The neighbours that are looked at, the longest contexts first."""


def ngram_tags(
    train: Sequence[tuple[str, Sequence[str]]], words: list[str], contexts: Sequence[Sequence[int]]
) -> list[str]:
    """The tag that was most frequent in the longest context of each word that occurs in `train`."""
    counts: dict[tuple[int, tuple[str, ...]], Counter[str]] = defaultdict(Counter)
    for text, tags in train:
        own = text.split(" ")
        for place, tag in enumerate(tags):
            for number, context in enumerate(contexts):
                counts[number, _around(own, place, context)][tag] += 1
    fallback = Counter(tag for _, tags in train for tag in tags).most_common(1)[0][0]
    found = []
    for place in range(len(words)):
        keys = ((number, _around(words, place, context)) for number, context in enumerate(contexts))
        seen = next((counts[key] for key in keys if key in counts), None)
        found.append(seen.most_common(1)[0][0] if seen else fallback)
    return found


def _around(words: list[str], place: int, context: Sequence[int]) -> tuple[str, ...]:
    return tuple(words[place + step] if 0 <= place + step < len(words) else "" for step in context)


def f1(true: Sequence[bool], guess: Sequence[bool]) -> float:
    both = sum(one and other for one, other in zip(true, guess, strict=True))
    return 2 * both / max(1, sum(true) + sum(guess))


def figures(true: Sequence[str], guess: Sequence[str]) -> list[float]:
    """Accuracy, F1 of each of MARKS, their mean, F1 of capitals."""
    (cases, marks), (guessed_cases, guessed_marks) = (
        zip(*(tag.split(PART) for tag in tags), strict=True) for tags in (true, guess)
    )
    each = [f1([mark == own for own in marks], [mark == own for own in guessed_marks]) for mark in MARKS]
    capitals = f1([case != "a" for case in cases], [case != "a" for case in guessed_cases])
    right = sum(one == other for one, other in zip(true, guess, strict=True)) / len(true)
    return [right, *each, sum(each) / len(each), capitals]


def main(runs: list[str]) -> None:
    splits = load(SUBSET, labelled=True)
    train, test = (list(zip(splits[name].texts, splits[name].targets or (), strict=True)) for name in ("train", "test"))
    ((text, true),) = test
    words = text.split(" ")
    report = Report(
        "punctuation", f"{len(words):,} words of the test address", ["", "accuracy", *MARKS, "marks", "capitals"]
    )
    for name, contexts in CONTEXTS.items():
        report.add(name, *figures(true, ngram_tags(train, words, contexts)))
    for run in runs:
        model = load_model([Path(run)])
        assert isinstance(model, LoadedTagger)
        report.add(run, *figures(true, [tag for _, tag in model.predict([words])[0]]))
    report.show()


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
