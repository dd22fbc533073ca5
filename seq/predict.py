"""What a finished or running run says about text, a label, labels or a number: python -m seq.predict RUN [RUN ...] [TEXT ...]; without TEXT, stdin by line.

Several runs are averaged: leading words that are folders are runs. Where a run has several text columns (`data.text`), a tab
separates them.
"""

import sys
from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path

from seq.command_line import exit_code, run_parser
from seq.data.examples import SEPARATOR, join_columns
from seq.errors import UserError
from seq.inference.classify import ANSWERS, ROWS, predict, predict_numbers, predict_sets
from seq.inference.trained import TrainedModel, advice, load_ensemble


def main(arguments: list[str]) -> None:
    parser = run_parser("seq.predict", __doc__)
    parser.add_argument("text", nargs="*", help="texts to classify; none: read stdin, one a line")
    parser.add_argument(
        "--top",
        type=int,
        metavar="N",
        help="classes to print (default 3; of a model of several labels, those it predicts)",
    )
    options = parser.parse_intermixed_args(arguments)
    more = list(takewhile(Path.is_dir, map(Path, options.text)))
    words = options.text[len(more) :]
    trained = load_ensemble([options.run, *more], options.checkpoint)
    if trained.config.task not in ANSWERS:
        raise UserError(f"{options.run}: {advice(trained)}")
    texts = iter(words) if words else read_lines(most_characters(trained))
    if len(trained.config.data.text_columns) > 1:
        texts = (join_columns(text.split("\t")) for text in texts)
    for text, found in _answers(trained, texts, options.top, rows=ROWS if words else 1):
        print(text.replace(SEPARATOR, "\t"), *found, sep="\t", flush=True)


def _answers(
    trained: TrainedModel, texts: Iterable[str], top: int | None, rows: int
) -> Iterator[tuple[str, list[str]]]:
    """For each text what is printed after it."""
    if not trained.labels:
        yield from ((text, [f"{value:.6g}"]) for text, value in predict_numbers(trained, texts, rows=rows))
        return
    one = trained.config.task == "classify"
    likely = (
        predict(trained, texts, top=top or 3, rows=rows)
        if one
        else predict_sets(trained, texts, top=top or 0, rows=rows)
    )
    for text, best in likely:
        yield text, [f"{label} {probability:.3f}" for label, probability in best]


LETTERS = 64
"""Characters that a token may have, for `most_characters`."""


def most_characters(trained: TrainedModel) -> int:
    """Of a line that is read whole: so many that a longer one has more than `data.max_length` tokens, nearly certainly."""
    one = trained.tokenizer.kind in ("characters", "bytes")
    return trained.config.data.max_length * (1 if one else LETTERS)


def read_lines(max_length: int) -> Iterator[str]:
    """Lines of stdin without their ends. Only the beginning of a line longer than `max_length` characters is kept in memory."""
    sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]
    while line := sys.stdin.readline(max_length + 1):
        whole = line
        while whole and not whole.endswith("\n"):
            whole = sys.stdin.readline(2**16)
        yield line.rstrip("\r\n")


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
