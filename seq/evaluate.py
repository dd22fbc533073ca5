"""Evaluate a run: python -m seq.evaluate RUN [RUN ...] [section.key=value ...]; also under torchrun, with the same figures.

Several runs of classifiers or of encoder-decoders are averaged.
"""

import sys
from pathlib import Path

from seq.command_line import answer_help, check_world_size, exit_code, run_parser

PARSER = run_parser("seq.evaluate", __doc__)
PARSER.add_argument("overrides", nargs="*", metavar="section.key=value", help="such as data.files.test=other.csv")
PARSER.add_argument("--split", choices=("train", "validation", "test"), help="default: test, if there is one")
answer_help(__file__, PARSER)  # before the imports below, which take seconds

import torch

from launch.context import describe_launch
from launch.device import device_of
from seq.config.identity import differing_keys
from seq.config.read import override_config
from seq.data.corpus import prepare_corpus
from seq.errors import UserError
from seq.log.console import print_evaluation
from seq.run.directory import RunDirectory
from seq.run.initial import InitialModel
from seq.run.run import Run
from seq.run.trained import load_ensemble
from seq.tasks import task_of
from seq.training.evaluation import evaluate

TRAINED = (
    *("model.", "optimizer.", "train.epochs", "train.steps"),
    *("data.tokenizer", "data.lowercase", "data.min_count", "data.unit"),
)
"""Keys that an evaluation cannot change."""


def main(arguments: list[str]) -> None:
    options = PARSER.parse_intermixed_args(arguments)
    # On the CPU first: each rank has its own GPU, and no GPU may start before the arithmetic is fixed.
    cpu, runs = torch.device("cpu"), [options.run, *(Path(word) for word in options.overrides if "=" not in word)]
    trained = load_ensemble(runs, options.checkpoint, cpu)
    overrides = [word for word in options.overrides if "=" in word]
    config = override_config(trained.config, overrides, where=str(options.run))
    changed = differing_keys(config, trained.config)
    if fixed := sorted(key for key in changed if key.startswith(TRAINED)):
        raise UserError(f"{fixed[0]}: is part of the trained model and cannot be overridden here")
    process = describe_launch()
    check_world_size(process.world_size, config.batch.shards)
    # The model's own ids, even if the data now have other characters or labels.
    task = task_of(config)
    corpus = prepare_corpus(config.data, task, like=trained, fixed_outputs=True)
    split = options.split or ("test" if "test" in corpus.splits else "validation")
    if split not in corpus.splits:
        raise UserError(f"--split {split}: the data have {', '.join(corpus.splits)}")
    if process.is_main:
        for note in corpus.notes:
            print(f"data: {note}")
    run = Run(
        config=config,
        task=task,
        corpus=corpus,
        initial=InitialModel(None),
        directory=RunDirectory(options.run),
        process=process,
        device=device_of(process.local_rank),
    )
    with run.joined():
        model, part = trained.model.to(run.device), corpus.splits[split]
        result = evaluate(task, model, part, config, run.device, progress=process.is_main)
        if process.is_main:
            print_evaluation(f"{options.run} at step {trained.step}: {split}", result, trained.labels)


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
