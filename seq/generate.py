"""Write text with a language model's run: python -m seq.generate RUN --prime "My fellow" --length 300."""

import json
import sys
from pathlib import Path

from seq.command_line import answer_help, exit_code, run_parser

PARSER = run_parser("seq.generate", __doc__, example="runs/speeches")
prompt = PARSER.add_mutually_exclusive_group()
prompt.add_argument("--prime", default="", metavar="TEXT", help="text to go on from (default: the beginning)")
prompt.add_argument("--prime-file", metavar="FILE", help="the same from a file; -: from stdin")
prompt.add_argument("--interactive", action="store_true", help="go on with each line that is typed, until the end")
PARSER.add_argument("--label", help="what to write: a label of the training data, for a model that writes by label")
PARSER.add_argument("--length", type=int, help="tokens to write (default: generation.length of the run)")
PARSER.add_argument("--temperature", type=float, help="0: always the likeliest (default: the run's)")
PARSER.add_argument("--top-k", type=int, help="draw among the k likeliest tokens; 0: all (default: the run's)")
PARSER.add_argument("--top-p", type=float, help="draw among tokens of this total probability (default: the run's)")
PARSER.add_argument("--repetition-penalty", type=float, help="above 1: repeat less (default: the run's)")
PARSER.add_argument("--stop", metavar="TEXT", help="end before this text (default: the run's)")
PARSER.add_argument("--seed", type=int, default=1, help="the same seed writes the same text (default 1)")
PARSER.add_argument("--num", type=int, default=1, help="texts to write, together (default 1)")
answer_help(__file__, PARSER)  # before the imports below, which take seconds

from launch.seeding import derive_seed
from seq.config import GenerationConfig
from seq.config.model import KIND_NAMES
from seq.config.read import override_config
from seq.errors import UserError
from seq.run.trained import load_run
from seq.tasks.generation import Writer
from seq.tasks.language_modeling import LanguageModeling, writer_of
from seq.terminal import printable

GIVEN = ("length", "temperature", "top_k", "top_p", "repetition_penalty", "stop")
"""Options that set keys of the section `generation`."""
TAIL = 10_000
"""Last characters of an interactive text that the model reads again before it continues."""


def main(arguments: list[str]) -> None:
    options = PARSER.parse_intermixed_args(arguments)
    trained = load_run(options.run, options.checkpoint)
    if not isinstance(trained.task, LanguageModeling):
        raise UserError(f"{options.run}: is {KIND_NAMES[trained.config.model.kind]}; use python -m seq.predict")
    if not 0 <= options.seed < 2**63:
        raise UserError(f"--seed {options.seed}: must be from 0 to 2**63 - 1")
    if options.num < 1:
        raise UserError(f"--num {options.num}: must be at least 1")
    given = {name: getattr(options, name) for name in GIVEN if getattr(options, name) is not None}
    overrides = [f"generation.{name}={json.dumps(value)}" for name, value in given.items()]
    config = override_config(trained.config, overrides, where="command line").generation
    writer, label = writer_of(trained), trained.task.label_id(trained, options.label)
    prompt = options.prime if options.prime_file is None else _read(options.prime_file)
    if options.interactive:
        return _interact(writer, config, options.seed, label)
    _warn_of_unknown(writer, prompt)
    if options.num > 1:
        texts = writer.generate(prompt, config, seed=options.seed, num=options.num, label=label)
        separator = "\n" if label is not None else "\n" + "-" * 40 + "\n"
        return print(printable(separator.join(prompt + text for text in texts)))
    print(printable(prompt), end="", flush=True)
    for piece in writer.stream(prompt, config, seed=options.seed, label=label):
        print(printable(piece), end="", flush=True)
    print()


def _read(file: str) -> str:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
        return text.removesuffix("\n")  # the line end is not part of the prompt
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--prime-file {file}: cannot be read: {error}") from None


def _warn_of_unknown(writer: Writer, text: str) -> None:
    if missing := writer.tokenizer.unknown(text):
        print(f"the training text has no {' '.join(map(repr, missing))}; read as unknown", file=sys.stderr)


def _interact(writer: Writer, config: GenerationConfig, seed: int, label: int | None) -> None:
    text = ""
    for number, line in enumerate(iter(sys.stdin.readline, "")):
        _warn_of_unknown(writer, line)
        text = (text + line.rstrip("\n"))[-TAIL:]
        for piece in writer.stream(text, config, seed=derive_seed(seed, number), label=label):
            print(printable(piece), end="", flush=True)
            text += piece
        print(flush=True)


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
