"""Classify text with a finished or running run: python -m seq.predict RUN [TEXT ...]; without TEXT, stdin by line."""

import sys
from collections.abc import Iterator

from seq.command_line import exit_code, run_parser
from seq.errors import UserError
from seq.inference.classify import ROWS, predict
from seq.inference.trained import load_run
from seq.models.classifier import Classifier


def main(arguments: list[str]) -> None:
    parser = run_parser("seq.predict", __doc__)
    parser.add_argument("text", nargs="*", help="texts to classify; none: read stdin, one a line")
    parser.add_argument("--top", type=int, default=3, metavar="N", help="classes to print (default 3)")
    options = parser.parse_intermixed_args(arguments)
    trained = load_run(options.run, options.checkpoint)
    if not isinstance(trained.model, Classifier):
        raise UserError(f"{options.run}: is a language model; use python -m seq.generate")
    texts = iter(options.text) if options.text else read_lines(trained.config.data.max_length)
    for text, best in predict(trained, texts, top=options.top, rows=ROWS if options.text else 1):
        print(text, *(f"{label} {probability:.3f}" for label, probability in best), sep="\t", flush=True)


def read_lines(max_length: int) -> Iterator[str]:
    """Lines of stdin without their ends. Only the beginning of a line longer than `max_length` is kept in memory."""
    sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]
    while line := sys.stdin.readline(max_length + 1):
        whole = line
        while whole and not whole.endswith("\n"):
            whole = sys.stdin.readline(2**16)
        yield line.rstrip("\r\n")


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
