"""Replay a run's steps on one process and compare them with what it recorded: python -m seq.replay RUN --step K.

Exit code 0 if every replayed step is as recorded, to the last bit; 1 if one is not, and then its first difference is
named. With --inspect, stop inside step K, between backward pass and update, and show batch, activations and gradients.
"""

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path

from seq.command_line import exit_code, run_parser
from seq.config.read import load_config
from seq.diagnose.inspection import inspect_step
from seq.errors import UserError
from seq.run.checkpoint import Checkpoint
from seq.run.directory import RunDirectory
from seq.run.json_lines import read_lines
from seq.run.run import Run, require_one_process
from seq.terminal import progress_bar
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
    require_one_process("a replay")
    run = Run.open(config, directory)
    checkpoint = directory.checkpoints.newest(run.config, run.corpus, before=options.step)
    with run.joined():
        return replay(run, checkpoint, recorded, options)


def replay(run: Run, checkpoint: Checkpoint | None, recorded: "RecordedSteps", options: argparse.Namespace) -> int:
    """The exit code."""
    trainer = run.trainer()
    if checkpoint is not None:
        trainer.state.load_state_dict(checkpoint.state)
    begin = checkpoint.path.name if checkpoint else "the beginning"
    print(f"{run.directory.path}: from step {trainer.state.progress.step}, {begin}")
    same = _replay(run, trainer, recorded, options.step, inspect=options.inspect)
    trainer.close()
    return 0 if same else 1


def _replay(run: Run, trainer: Trainer, recorded: "RecordedSteps", stop: int, *, inspect: bool) -> bool:
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
        if differences := recorded.differences(step, loss, grad_norm, done.digests or {}):
            print(f"step {step} differs: {'; '.join(differences)}")
            return False
        if step in recorded.figures:
            digests = f", {len(recorded.digests[step])} gradients" if step in recorded.digests else ""
            print(f"step {step} as recorded: loss {loss!r}, grad_norm {grad_norm!r}{digests}")
    return True


@dataclass(frozen=True)
class RecordedSteps:
    figures: dict[int, dict[str, float | None]]
    """step -> `step_loss` and `grad_norm`, for the steps that the run logged."""
    digests: dict[int, dict[str, str]]
    """step -> parameter -> digest of its gradient, if `logging.digests` was on."""

    @classmethod
    def read(cls, folder: Path) -> "RecordedSteps":
        """Read `metrics.jsonl` and `digests.jsonl`. If a resumed run did a step again, the later line counts."""
        train = (line for line in read_lines(folder / "metrics.jsonl") if line.get("event") == "train")
        figures: dict[int, dict[str, float | None]] = {
            line["step"]: {name: line[name] for name in ("step_loss", "grad_norm") if name in line} for line in train
        }
        digests = (line for line in read_lines(folder / "digests.jsonl") if isinstance(line.get("gradients"), dict))
        return cls(figures, {line["step"]: line["gradients"] for line in digests})

    @property
    def last_step(self) -> int:
        return max([0, *self.figures, *self.digests])

    def differences(
        self, step: int, step_loss: float | None, grad_norm: float | None, digests: dict[str, str]
    ) -> list[str]:
        """Messages about what differs from the record of `step`, gradients first; empty if nothing differs."""
        recorded = self.digests.get(step, {})
        tensors = [name for name in recorded if recorded[name] != digests.get(name)]
        found = [f"gradient of {tensors[0]} (and {len(tensors) - 1} more of {len(recorded)})"] if tensors else []
        for name, value in (("step_loss", step_loss), ("grad_norm", grad_norm)):
            now = value if value is not None and math.isfinite(value) else None  # as JSON has it
            was = self.figures.get(step, {}).get(name, now)
            found += [] if was == now else [f"{name}: recorded {was!r}, replayed {value!r}"]
        return found


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
