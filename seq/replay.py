"""Replay a run's steps on one process and compare them with what it recorded: python -m seq.replay RUN --step K.

Exit code 0 if every replayed step is as recorded, to the last bit; 1 if one is not, and then its first difference is
named. With --inspect, stop inside step K, between backward pass and update, and show batch, activations and gradients.
"""

import argparse
import sys

from launch.context import describe_launch, device_of
from launch.group import process_group
from seq.command_line import exit_code, run_parser
from seq.config.read import load_config
from seq.data.corpus import prepare_corpus
from seq.data.loader import BatchLoader
from seq.diagnose.inspection import inspect_step
from seq.diagnose.recorded import RecordedSteps
from seq.errors import UserError
from seq.inference.initial import InitialModel
from seq.run.checkpoint import Checkpoint
from seq.run.directory import Run, RunDirectory
from seq.terminal import progress_bar
from seq.training.precision import configure_numerics
from seq.training.step import Trainer


def main(arguments: list[str]) -> int:
    parser = run_parser("seq.replay", __doc__, checkpoint=False)
    parser.add_argument("--step", type=int, required=True, metavar="K", help="replay up to this step")
    parser.add_argument("--inspect", action="store_true", help="stop inside step K and show everything")
    options = parser.parse_intermixed_args(arguments)
    directory = RunDirectory(options.run)
    directory.require()
    config = load_config(directory.config_file, ["logging.digests=true"])
    recorded = RecordedSteps.read(directory.path)
    if not 1 <= options.step <= recorded.last_step:
        raise UserError(f"--step {options.step}: {options.run} recorded the steps 1 to {recorded.last_step}")
    process = describe_launch()
    if process.launcher != "python":
        raise UserError("a replay runs on one process: start it with plain python")
    initial = InitialModel.load(config, directory)
    corpus = prepare_corpus(config.data, config.task, like=initial.trained)
    checkpoint = directory.newest_checkpoint(config, corpus, before=options.step)
    run = Run(config=config, corpus=corpus, directory=directory, process=process, device=device_of(process))
    configure_numerics(config, run.device)
    with process_group(process, timeout_seconds=config.run.timeout_seconds):
        return replay(run, initial, checkpoint, recorded, options)


def replay(
    run: Run, initial: InitialModel, checkpoint: Checkpoint | None, recorded: RecordedSteps, options: argparse.Namespace
) -> int:
    """The exit code."""
    trainer = Trainer(run.config, run.corpus, run.device)
    initial.copy_weights_to(trainer.model, run.corpus.labels)
    if checkpoint is not None:
        trainer.state.load_state_dict(checkpoint.state)
    begin = checkpoint.path.name if checkpoint else "the beginning"
    print(f"{run.directory.path}: from step {trainer.state.progress.step}, {begin}")
    same = _replay(run, trainer, recorded, options.step, inspect=options.inspect)
    trainer.close()
    return 0 if same else 1


def _replay(run: Run, trainer: Trainer, recorded: RecordedSteps, stop: int, *, inspect: bool) -> bool:
    """Continue from the trainer's state to step `stop`; False at the first step that differs from the record."""
    config, start = run.config, trainer.state.progress.step
    batches = BatchLoader(run.corpus.splits["train"], config.batch, seed=config.run.seed)
    last_step = batches.total_steps(config.train)
    steps = progress_bar(batches.steps(start, stop), "replaying", total=stop - start)
    for step, shards in enumerate(steps, start + 1):
        trainer.set_lr(step - 1, last_step)
        if inspect and step == stop:
            inspect_step(trainer, shards, run.corpus)
            return True
        done = trainer.update(trainer.accumulate_gradients(shards))
        loss, grad_norm = done.shard_losses.sum().item(), done.grad_norm.item()
        if differences := recorded.differences(step, loss, grad_norm, done.digests or {}):
            print(f"step {step} differs: {'; '.join(differences)}")
            return False
        if step in recorded.figures:
            digests = f", {len(recorded.digests[step])} gradients" if step in recorded.digests else ""
            print(f"step {step} as recorded: loss {loss!r}, grad_norm {grad_norm!r}{digests}")
    return True


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
