"""Write a transducer's outputs: python -m seq.transduce RUN [TEXT ...]; without TEXT, stdin by line.

A model of `data.source=pronunciation` prints how words are spoken: each with its probability, the likeliest first.
"""

import argparse
import sys

from seq.command_line import exit_code, run_parser
from seq.errors import UserError, warn
from seq.inference.trained import TrainedModel, advice, load_run
from seq.inference.transduce import transduce
from seq.predict import most_characters, read_lines


def main(arguments: list[str]) -> None:
    parser = run_parser("seq.transduce", __doc__, example="runs/pronunciation")
    parser.add_argument("text", nargs="*", help="texts to read; none: read stdin, one a line")
    parser.add_argument("--beam", type=int, default=5, metavar="N", help="beams of the search; 1: greedy (default 5)")
    parser.add_argument("--nbest", type=int, default=1, metavar="N", help="outputs to print for each text (default 1)")
    options = parser.parse_intermixed_args(arguments)
    if options.beam < 1 or options.nbest < 1:
        raise UserError("--beam and --nbest must be at least 1")
    trained = load_run(options.run, options.checkpoint)
    if trained.config.task != "transduce":
        raise UserError(f"{options.run}: {advice(trained)}")
    if options.text:
        return _print(trained, options.text, options)
    for text in read_lines(most_characters(trained)):
        try:
            _print(trained, [text], options)
        except UserError as error:  # the other lines have an answer
            warn(str(error))
            print(text, flush=True)


def _print(trained: TrainedModel, texts: list[str], options: argparse.Namespace) -> None:
    for text, found in transduce(trained, texts, beam=options.beam, nbest=options.nbest):
        print(text, *(f"{output.text} {output.probability:.3f}" for output in found), sep="\t", flush=True)


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
