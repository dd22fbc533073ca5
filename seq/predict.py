"""Predict with the model of a finished or running run: python -m seq.predict RUN [RUN ...] [TEXT ...]

A classifier gives labels or a number, a tagger a tag for each word (or, trained on `data.source=punctuation`, the text with its
capitals and marks), an encoder-decoder another text, such as how a word is spoken.

Texts come from the command line, from --file, or else from stdin, one a line. Several runs of classifiers or of encoder-decoders are
averaged: leading words that are folders of runs are taken as runs. Where a run has several text columns (`data.text`), a tab separates them in a line.
"""

import sys
from itertools import takewhile
from pathlib import Path

from seq.command_line import add_row_arguments, answer_help, exit_code, run_parser

PARSER = run_parser("seq.predict", __doc__)
add_row_arguments(PARSER)
PARSER.add_argument(
    "--top",
    type=int,
    metavar="N",
    help="labels to print (default 3, or 1 in CSV and JSON; of a model of several labels, those it predicts)",
)
PARSER.add_argument("--beam", type=int, metavar="N", help="beams of an encoder-decoder's search; 1: greedy (default 5)")
PARSER.add_argument("--nbest", type=int, metavar="N", help="outputs of an encoder-decoder to print (default 1)")
answer_help(__file__, PARSER)  # before the imports below, which take seconds

from seq.errors import UserError
from seq.inference.rows import print_answers
from seq.run.trained import load_ensemble
from seq.tasks import PredictiveTask

OPTIONS = ("top", "beam", "nbest")
"""Options that only some tasks have."""


def main(arguments: list[str]) -> None:
    options = PARSER.parse_intermixed_args(arguments)
    for name in OPTIONS:
        if (number := getattr(options, name)) is not None and number < 1:
            raise UserError(f"--{name} must be at least 1")
    more = [Path(word) for word in takewhile(_is_run, options.text)]
    trained = load_ensemble([options.run, *more], options.checkpoint)
    if not isinstance(trained.task, PredictiveTask):
        raise UserError(f"{options.run}: is a language model; use python -m seq.generate")
    given = {name for name in OPTIONS if getattr(options, name) is not None}
    if wrong := given - trained.task.options:
        raise UserError(f"--{wrong.pop()} is not for this model; --help says which models have it")
    print_answers(trained, options.text[len(more) :], options, trained.task.answers(trained, options))


def _is_run(word: str) -> bool:
    """A folder with a run or an exported model: a text may be the name of another folder."""
    return any((Path(word) / name).is_file() for name in ("config.yaml", "config.json"))


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
