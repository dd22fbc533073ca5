"""What a finished or running run says about text, a label, labels or a number: python -m seq.predict RUN [RUN ...] [TEXT ...]

Texts come from the command line, from --file, or else from stdin, one a line. Several runs are averaged: leading words that are
folders are runs. Where a run has several text columns (`data.text`), a tab separates them in a line.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path

from seq.command_line import exit_code, run_parser
from seq.data.examples import SEPARATOR
from seq.errors import UserError
from seq.inference.classify import ANSWERS, predict, predict_numbers, predict_sets
from seq.inference.rows import Answer, add_row_arguments, print_answers
from seq.inference.trained import TrainedModel, advice, load_ensemble


def main(arguments: list[str]) -> None:
    parser = run_parser("seq.predict", __doc__)
    add_row_arguments(parser)
    parser.add_argument(
        "--top",
        type=int,
        metavar="N",
        help="classes to print (default 3, or 1 in CSV and JSON; of a model of several labels, those it predicts)",
    )
    options = parser.parse_intermixed_args(arguments)
    if options.top is not None and options.top < 1:
        raise UserError("--top must be at least 1")
    more = [Path(word) for word in takewhile(os.path.isdir, options.text)]
    trained = load_ensemble([options.run, *more], options.checkpoint)
    task = trained.config.task
    if task not in ANSWERS:
        raise UserError(f"{options.run}: {advice(trained)}")
    top = options.top or (0 if task == "classify_many" else 1 if options.csv or options.json else 3)
    top = min(top, len(trained.labels)) if task == "classify" else top
    print_answers(
        trained,
        options.text[len(more) :],
        options,
        lambda texts: _answers(trained, texts, top),
        fields=_fields(trained, top),
    )


def _fields(trained: TrainedModel, top: int) -> list[str]:
    if not trained.labels:
        return ["prediction"]
    places = ["", *range(2, top + 1)] if trained.config.task == "classify" else [""]
    return [f"{name}{place}" for place in places for name in ("prediction", "probability")]


def _answers(trained: TrainedModel, texts: Iterable[str], top: int) -> Iterator[Answer]:
    if not trained.labels:
        for text, value in predict_numbers(trained, texts):
            yield _answer(text, [f"{value:.6g}"], [value])
    elif trained.config.task == "classify":
        for text, best in predict(trained, texts, top=top):
            yield _answer(text, _shown(best), [cell for pair in best for cell in pair])
    else:
        for text, best in predict_sets(trained, texts, top=top):
            yield _answer(text, _shown(best), [[label for label, _ in best], [chance for _, chance in best]])


def _shown(best: list[tuple[str, float]]) -> list[str]:
    return [f"{label} {probability:.3f}" for label, probability in best]


def _answer(text: str, shown: list[str], values: list[object]) -> Answer:
    return Answer("\t".join([text.replace(SEPARATOR, "\t"), *shown]), values)


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
