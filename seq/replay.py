"""Replay a run's steps on one process and compare them with what it recorded, or with another run.

python -m seq.replay RUN --step K [--inspect]     exit code 0 if every step is as recorded, to the last bit, else 1
python -m seq.replay RUN --against OTHER          the first tensor in which they differ: step, shard, name, position, both values

With --inspect, stop inside step K, between backward pass and update, and show batch, activations and gradients. With --against, RUN and OTHER
may also be folders that a script has written with `launch.step_record`.
"""

import argparse
import sys
from pathlib import Path

from seq.command_line import answer_help, exit_code, run_parser

PARSER = run_parser("seq.replay", __doc__, checkpoint=False)
PARSER.add_argument("--step", type=int, metavar="K", help="replay up to this step")
PARSER.add_argument("--inspect", action="store_true", help="stop inside step K and show everything")
PARSER.add_argument("--against", type=Path, metavar="OTHER", help="another run to compare with")
answer_help(__file__, PARSER)  # before the imports below, which take seconds

from seq.config.identity import differing_keys
from seq.config.read import load_config
from seq.diagnose.differences import Replayed, common_starts, compare_records, compare_replays, first_difference
from seq.diagnose.inspection import inspect_step
from seq.errors import UserError
from seq.run.checkpoint import Checkpoint
from seq.run.directory import RunDirectory
from seq.run.recorded import RecordedSteps
from seq.run.run import Run, require_one_process
from seq.terminal import progress_bar
from seq.training.step import Trainer


def main(arguments: list[str]) -> int:
    options = PARSER.parse_intermixed_args(arguments)
    require_one_process("a replay")
    if options.against is not None:
        return _compare(options)
    if options.step is None:
        raise UserError("give --step K, the step to replay, or --against OTHER, a run to compare with")
    recorded = RecordedSteps.read(options.run)
    run = _open(options.run)
    if not 1 <= options.step <= recorded.last_step:
        raise UserError(f"--step {options.step}: {options.run} recorded the steps 1 to {recorded.last_step}")
    checkpoint = run.directory.checkpoints.newest(run.config, run.corpus, before=options.step)
    with run.joined():
        return replay(run, checkpoint, recorded, options)


def _open(folder: Path) -> Run:
    directory = RunDirectory(folder)
    directory.require()
    return Run.open(load_config(directory.config_file, ["logging.digests=true"]), directory)


def replay(run: Run, checkpoint: Checkpoint | None, recorded: RecordedSteps, options: argparse.Namespace) -> int:
    """The exit code."""
    trainer = run.trainer()
    if checkpoint is not None:
        trainer.state.load_state_dict(checkpoint.state)
    begin = checkpoint.path.name if checkpoint else "the beginning"
    print(f"{run.directory.path}: from step {trainer.state.progress.step}, {begin}")
    same = _replay(run, trainer, recorded, options.step, inspect=options.inspect)
    trainer.close()
    return 0 if same else 1


def _replay(run: Run, trainer: Trainer, recorded: RecordedSteps, stop: int, *, inspect: bool) -> bool:
    """Continue from the trainer's state to step `stop`; False at the first step that differs from the record."""
    start, batches = trainer.state.progress.step, run.batches()
    last_step = batches.total_steps(run.config.train)
    steps = progress_bar(batches.steps(start, stop), "replaying", total=stop - start)
    for step, shards in enumerate(steps, start + 1):
        trainer.set_lr(step - 1, last_step)
        if inspect and step == stop:
            inspect_step(trainer, shards, run.corpus)
            return True
        done = trainer.update(trainer.accumulate_gradients(shards))
        loss, grad_norm = done.shard_losses.sum().item(), done.grad_norm.item()
        if differences := recorded.differences(RecordedSteps.of(step, loss, grad_norm, done.digests), step):
            print(f"step {step} differs, recorded and replayed: {'; '.join(differences)}")
            return False
        if step in recorded.figures:
            digests = f", {len(recorded.digests[step])} gradients" if step in recorded.digests else ""
            print(f"step {step} as recorded: loss {loss!r}, grad_norm {grad_norm!r}{digests}")
    return True


def _compare(options: argparse.Namespace) -> int:
    folders = options.run, options.against
    if options.inspect:
        raise UserError("--inspect shows a step of one run: use it without --against")
    for folder in folders:
        if not (folder / "digests.jsonl").is_file():
            RunDirectory(folder).require()
    if not all((folder / "config.yaml").is_file() for folder in folders):
        found = compare_records(*folders)
        print(found or "the same bits in all steps that both have recorded")
        return 1 if found else 0
    runs, records = [_open(folder) for folder in folders], [RecordedSteps.read(folder) for folder in folders]
    if keys := differing_keys(*(run.config for run in runs)):
        print(f"their configs differ in {', '.join(keys)}")
    both = [step for step in records[0].steps_of_both(records[1]) if options.step is None or step <= options.step]
    if not both:
        raise UserError("no step is recorded in both runs")
    last = next((step for step in both if records[0].differences(records[1], step)), both[-1])
    with runs[0].joined():
        found = _side_by_side(runs, records, last)
    print(found or f"the same bits up to step {last}")
    return 1 if found else 0


def _side_by_side(runs: list[Run], records: list[RecordedSteps], last: int) -> str | None:
    """Replay both runs up to step `last` from the newest common checkpoint whose states are equal."""
    for start in common_starts(runs[0].directory, runs[1].directory, last):
        one, other = (Replayed(run, start) for run in runs)
        different = first_difference(one.state(), other.state())
        if different is None:
            print(f"from step {start}: the same state")
            found, replayed = compare_replays(one, other, range(start, last))
        one.close()
        other.close()
        if different is None:
            return found or _record_differs(runs, records, replayed, last)
    return f"before the first step: {different}"


def _record_differs(
    runs: list[Run], records: list[RecordedSteps], replayed: list[RecordedSteps], last: int
) -> str | None:
    """Replayed here, both give the same bits. If a record has others, its launch or machine gave them."""
    for run, record, now in zip(runs, records, replayed, strict=True):
        if differing := record.differences(now, last):
            return (
                f"step {last}: replayed here, both runs give the same bits, but {run.directory.path} recorded others ({differing[0]}); "
                "so its machine or launch made the difference"
            )
    return None


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
