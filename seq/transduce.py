"""Write a transducer's outputs: python -m seq.transduce RUN [TEXT ...]; without TEXT, stdin by line.

A model of `data.source=pronunciation` prints how words are spoken: each with its probability, the likeliest first.
"""

import sys

from seq.command_line import exit_code, run_parser
from seq.errors import UserError
from seq.inference.trained import load_run
from seq.inference.transduce import ROWS, transduce
from seq.predict import read_lines


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
        raise UserError(f"{options.run}: is a {trained.config.model.kind.replace('_', ' ')}, not a transducer")
    texts = iter(options.text) if options.text else read_lines(trained.config.data.max_length)
    rows = ROWS if options.text else 1
    for text, found in transduce(trained, texts, beam=options.beam, nbest=options.nbest, rows=rows):
        print(text, *(f"{output.text} {output.probability:.3f}" for output in found), sep="\t", flush=True)


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
