"""Tag the words of texts with a tagger's run: python -m seq.tag RUN [TEXT ...]; without TEXT, stdin by line.

A model of `data.source=punctuation` prints the text with its capitals and marks; it reads words in lower case without any. Others
print a line for each word, with its tag, and an empty line after each text.
"""

import sys
from collections.abc import Iterable

from seq.command_line import exit_code, run_parser
from seq.data.tokenizer import split_tokens
from seq.errors import UserError
from seq.inference.tag import show, tag
from seq.inference.trained import advice, load_run


def main(arguments: list[str]) -> None:
    parser = run_parser("seq.tag", __doc__, example="runs/punctuation")
    parser.add_argument("text", nargs="*", help="texts to tag; none: read stdin, one a line")
    options = parser.parse_intermixed_args(arguments)
    trained = load_run(options.run, options.checkpoint)
    if trained.config.task != "tag":
        raise UserError(f"{options.run}: {advice(trained)}")
    sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]
    texts: Iterable[str] = options.text or sys.stdin
    for text in texts:
        tokens = split_tokens(text)
        print(show(trained, tokens, tag(trained, [tokens])[0]), flush=True)


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
