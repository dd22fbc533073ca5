"""Write a transducer's outputs: python -m seq.transduce RUN [TEXT ...]; without TEXT, --file or stdin by line.

A model of `data.source=pronunciation` prints how words are spoken: each with its probability, the likeliest first.
"""

import sys
from collections.abc import Iterator

from seq.command_line import exit_code, run_parser
from seq.errors import UserError
from seq.inference.rows import Answer, add_row_arguments, print_answers
from seq.inference.trained import TrainedModel, advice, load_run
from seq.inference.transduce import transduce


def main(arguments: list[str]) -> None:
    parser = run_parser("seq.transduce", __doc__, example="runs/pronunciation")
    add_row_arguments(parser)
    parser.add_argument("--beam", type=int, default=5, metavar="N", help="beams of the search; 1: greedy (default 5)")
    parser.add_argument("--nbest", type=int, default=1, metavar="N", help="outputs to print for each text (default 1)")
    options = parser.parse_intermixed_args(arguments)
    if options.beam < 1 or options.nbest < 1:
        raise UserError("--beam and --nbest must be at least 1")
    trained = load_run(options.run, options.checkpoint)
    if trained.config.task != "transduce":
        raise UserError(f"{options.run}: {advice(trained)}")
    print_answers(
        trained,
        options.text,
        options,
        lambda texts: _answers(trained, texts, options.beam, options.nbest),
        fields=["prediction", "probability"],
        longest=trained.config.data.max_length,
    )


def _answers(trained: TrainedModel, texts: list[str], beam: int, nbest: int) -> Iterator[Answer]:
    for text, found in transduce(trained, texts, beam=beam, nbest=nbest):
        shown = "\t".join([text, *(f"{output.text} {output.probability:.3f}" for output in found)])
        yield Answer(shown, [[output.text for output in found], [output.probability for output in found]])


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
