"""Tag the words of texts with a tagger's run: python -m seq.tag RUN [TEXT ...]; without TEXT, --file or stdin by line.

A model of `data.source=punctuation` prints the text with its capitals and marks; it reads words in lower case without any. Others
print a line for each word, with its tag, and an empty line after each text.
"""

import sys
from collections.abc import Iterator

from seq.command_line import exit_code, run_parser
from seq.data.punctuation import restores
from seq.data.tokenizer import split_tokens
from seq.errors import UserError
from seq.inference.rows import Answer, add_row_arguments, print_answers
from seq.inference.tag import show, tag
from seq.inference.trained import TrainedModel, advice, load_run


def main(arguments: list[str]) -> None:
    parser = run_parser("seq.tag", __doc__, example="runs/punctuation")
    add_row_arguments(parser)
    options = parser.parse_intermixed_args(arguments)
    trained = load_run(options.run, options.checkpoint)
    if trained.config.task != "tag":
        raise UserError(f"{options.run}: {advice(trained)}")
    fields = ["prediction", "restored"] if restores(trained.labels) else ["prediction"]
    print_answers(trained, options.text, options, lambda texts: _answers(trained, texts), fields=fields)


def _answers(trained: TrainedModel, texts: list[str]) -> Iterator[Answer]:
    tokens = [split_tokens(text) for text in texts]
    for own, tags in zip(tokens, tag(trained, tokens), strict=True):
        shown = show(trained, own, tags)
        yield Answer(shown, [tags, shown] if restores(trained.labels) else [tags])


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
