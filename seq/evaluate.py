"""Evaluate a run: python -m seq.evaluate RUN [section.key=value ...]; also under torchrun, with the same figures."""

import argparse
import sys
from pathlib import Path

from launch.context import describe_launch
from launch.group import process_group
from seq.command_line import check_world_size, exit_code
from seq.config_file import override_config
from seq.data.corpus import prepare_corpus
from seq.errors import UserError
from seq.identity import identity
from seq.training.console import print_evaluation
from seq.training.evaluation import evaluate
from seq.training.precision import fix_arithmetic_of
from seq.training.trained import load_run

TRAINED = ("model.", "optimizer.", "train.epochs", "train.steps", "data.tokenizer", "data.lowercase", "data.min_count")
"""Keys that an evaluation cannot change."""


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m seq.evaluate", description=__doc__)
    parser.add_argument("run", type=Path, help="run directory, such as runs/names")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="such as data.files.test=other.csv")
    parser.add_argument("--split", choices=("train", "validation", "test"), help="default: test, if there is one")
    parser.add_argument("--checkpoint", metavar="NAME", help="such as step-00000500.pt (default: the newest)")
    options = parser.parse_intermixed_args(arguments)
    trained = load_run(options.run, options.checkpoint)
    config = override_config(trained.config, options.overrides, where=str(options.run))
    changed = {key for key, value in identity(config).items() if identity(trained.config)[key] != value}
    if fixed := sorted(key for key in changed if key.startswith(TRAINED)):
        raise UserError(f"{fixed[0]}: is part of the trained model and cannot be overridden here")
    launch = describe_launch()
    check_world_size(launch.world_size, config.batch.shards)
    # Encoded as the model was trained, whatever characters and labels the data have now.
    corpus = prepare_corpus(config.data, config.task, tokenizer=trained.tokenizer, labels=trained.labels)
    split = options.split or ("test" if "test" in corpus.splits else "validation")
    if split not in corpus.splits:
        raise UserError(f"--split {split}: the data have {', '.join(corpus.splits)}")
    if launch.is_main:
        for note in corpus.notes:
            print(f"data: {note}")
    with process_group(launch, timeout_seconds=config.run.timeout_seconds) as device:
        fix_arithmetic_of(config, device)
        result = evaluate(trained.model.to(device), corpus.splits[split], config, device)
        if launch.is_main:
            print_evaluation(f"{options.run} at step {trained.step}: {split}", result, trained.labels)


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
