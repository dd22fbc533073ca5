"""The answers that `seq.predict` prints, by kind of model: labels, sets of labels, numbers, tags, or other texts."""

import argparse
from collections.abc import Callable, Iterator

from seq.config import Task
from seq.data.examples import SEPARATOR
from seq.data.punctuation import restores
from seq.data.tokenizer import split_tokens
from seq.errors import UserError
from seq.inference.classify import predict, predict_numbers, predict_sets
from seq.inference.decode import decode
from seq.inference.rows import Answer, Answers
from seq.inference.tag import show, tag
from seq.inference.trained import TrainedModel


def answers_of(trained: TrainedModel, options: argparse.Namespace) -> Answers:
    """UserError for a model that does not predict, and for an option of another kind of model."""
    task = trained.config.task
    if task not in KINDS:
        raise UserError(f"{options.run}: is a language model; use python -m seq.generate")
    given = {name for name in ("top", "beam", "nbest") if getattr(options, name) is not None}
    if wrong := given - TAKES.get(task, set()):
        raise UserError(f"--{wrong.pop()} is not for this model; --help says which models have it")
    return KINDS[task](trained, options)


def _labels(trained: TrainedModel, options: argparse.Namespace) -> Answers:
    top = min(options.top or (1 if options.csv or options.json else 3), len(trained.labels))
    fields = [f"{name}{place}" for place in ("", *range(2, top + 1)) for name in ("prediction", "probability")]

    def answer(texts: list[str]) -> Iterator[Answer]:
        for text, best in predict(trained, texts, top=top):
            yield _beside(text, _shown(best), [cell for pair in best for cell in pair])

    return Answers(fields, answer)


def _label_sets(trained: TrainedModel, options: argparse.Namespace) -> Answers:
    def answer(texts: list[str]) -> Iterator[Answer]:
        for text, best in predict_sets(trained, texts, top=options.top or 0):
            yield _beside(text, _shown(best), [[label for label, _ in best], [chance for _, chance in best]])

    return Answers(["prediction", "probability"], answer)


def _numbers(trained: TrainedModel, options: argparse.Namespace) -> Answers:
    def answer(texts: list[str]) -> Iterator[Answer]:
        for text, value in predict_numbers(trained, texts):
            yield _beside(text, [f"{value:.6g}"], [value])

    return Answers(["prediction"], answer)


def _tags(trained: TrainedModel, options: argparse.Namespace) -> Answers:
    """A model of `data.source=punctuation` shows the text with its capitals and marks; others show a line for each word."""
    restored = restores(trained.labels)

    def answer(texts: list[str]) -> Iterator[Answer]:
        tokens = [split_tokens(text) for text in texts]
        for own, tags in zip(tokens, tag(trained, tokens), strict=True):
            shown = show(trained, own, tags)
            yield Answer(shown, [tags, shown] if restored else [tags])

    return Answers(["prediction", "restored"] if restored else ["prediction"], answer)


def _outputs(trained: TrainedModel, options: argparse.Namespace) -> Answers:
    beam, nbest = options.beam or 5, options.nbest or 1

    def answer(texts: list[str]) -> Iterator[Answer]:
        for text, found in decode(trained, texts, beam=beam, nbest=nbest):
            shown = [f"{output.text} {output.probability:.3f}" for output in found]
            yield _beside(text, shown, [[output.text for output in found], [output.probability for output in found]])

    return Answers(["prediction", "probability"], answer, trained.config.data.max_length)


def _shown(best: list[tuple[str, float]]) -> list[str]:
    return [f"{label} {probability:.3f}" for label, probability in best]


def _beside(text: str, shown: list[str], values: list[object]) -> Answer:
    return Answer("\t".join([text.replace(SEPARATOR, "\t"), *shown]), values)


KINDS: dict[Task, Callable[[TrainedModel, argparse.Namespace], Answers]] = {
    "classification": _labels,
    "multilabel": _label_sets,
    "regression": _numbers,
    "tagging": _tags,
    "seq2seq": _outputs,
}
TAKES: dict[Task, set[str]] = {"classification": {"top"}, "multilabel": {"top"}, "seq2seq": {"beam", "nbest"}}
