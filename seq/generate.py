"""Write text with a language model's run: python -m seq.generate RUN --prime "My fellow" --length 300."""

import argparse
import sys
from pathlib import Path

from seq.command_line import exit_code, load_run
from seq.config_file import override_config
from seq.errors import UserError
from seq.models.language_model import LanguageModel
from seq.training.text import generate


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m seq.generate", description=__doc__)
    parser.add_argument("run", type=Path, help="run directory, such as runs/speeches")
    parser.add_argument("--prime", default="", metavar="TEXT", help="text to go on from (default: the beginning)")
    parser.add_argument("--length", type=int, help="tokens to write (default: generation.length of the run)")
    parser.add_argument("--temperature", type=float, help="0: always the likeliest (default: the run's)")
    parser.add_argument("--top-k", type=int, help="draw among the k likeliest tokens; 0: all (default: the run's)")
    parser.add_argument("--top-p", type=float, help="draw among tokens of this total probability (default: the run's)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed writes the same text (default 1)")
    parser.add_argument("--num", type=int, default=1, help="texts to write, together (default 1)")
    parser.add_argument("--checkpoint", metavar="NAME", help="such as step-00000500.pt (default: the newest)")
    options = parser.parse_intermixed_args(arguments)
    trained = load_run(options.run, options.checkpoint)
    if not isinstance(trained.model, LanguageModel):
        raise UserError(f"{options.run}: is a classifier; use python -m seq.predict")
    if not 0 <= options.seed < 2**63:
        raise UserError(f"--seed {options.seed}: must be from 0 to 2**63 - 1")
    if options.num < 1:
        raise UserError(f"--num {options.num}: must be at least 1")
    if missing := trained.tokenizer.unknown(options.prime):
        print(f"the training text has no {' '.join(map(repr, missing))}; read as unknown", file=sys.stderr)
    given = {name: getattr(options, name) for name in ("length", "temperature", "top_k", "top_p")}
    overrides = [f"generation.{name}={value}" for name, value in given.items() if value is not None]
    config = override_config(trained.config, overrides, where="command line")
    texts = generate(
        trained.model,
        trained.tokenizer,
        options.prime,
        config.generation,
        unit=config.data.unit,
        seed=options.seed,
        num=options.num,
    )
    print(("\n" + "-" * 40 + "\n").join(options.prime + text for text in texts))


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
