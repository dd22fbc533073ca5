"""Replay a run's steps on one process and compare them with what it recorded: python -m seq.replay RUN --step K.

Exit code 0 if every replayed step is as recorded, to the last bit; 1 if one is not, and then its first difference is
named. With --inspect, stop inside step K, between backward pass and update, and show batch, activations and gradients.
"""

import argparse
import sys
from pathlib import Path

import torch
from torch.nn.parallel import DistributedDataParallel

from launch.allreduce import PlainReduction
from launch.context import describe_launch, device_of
from launch.group import process_group
from launch.lockstep import OrderedReduction
from seq.command_line import exit_code
from seq.config import Config
from seq.config_file import load_config
from seq.data.corpus import Corpus
from seq.data.dataset import SequenceDataset
from seq.data.loader import make_loader, make_sampler, run_steps, total_steps
from seq.errors import UserError
from seq.training.checkpoint import checkpoints_in
from seq.training.initial import corpus_for, load_initial
from seq.training.inspection import inspect_step
from seq.training.optimizer import lr_at, set_lr
from seq.training.precision import fix_arithmetic_of
from seq.training.recorded import RecordedSteps
from seq.training.run_directory import RunDirectory
from seq.training.state import TrainState, load_for_resume
from seq.training.step import accumulate_gradients, update


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m seq.replay", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="run directory, such as runs/names")
    parser.add_argument("--step", type=int, required=True, metavar="K", help="replay up to this step")
    parser.add_argument("--inspect", action="store_true", help="stop inside step K and show everything")
    options = parser.parse_intermixed_args(arguments)
    directory = RunDirectory(options.run)
    config = load_config(directory.config_file, ["logging.digests=true"])
    recorded = RecordedSteps.read(directory.path)
    if not 1 <= options.step <= recorded.last_step:
        raise UserError(f"--step {options.step}: {options.run} recorded the steps 1 to {recorded.last_step}")
    launch = describe_launch()
    if launch.launcher != "python":
        raise UserError("a replay runs on one process: start it with plain python")
    initial = load_initial(config, directory)
    corpus = corpus_for(config, initial)
    earlier = [path for path in checkpoints_in(directory.checkpoints) if path < directory.checkpoint_at(options.step)]
    checkpoint = load_for_resume(earlier[::-1], config, corpus)
    fix_arithmetic_of(config, device_of(launch))
    with process_group(launch, timeout_seconds=config.run.timeout_seconds) as device:
        state = TrainState.create(config, corpus, device, initial)
        if checkpoint is not None:
            state.load_state_dict(checkpoint.state)
        print(
            f"{options.run}: from step {state.progress.step}, {checkpoint.path.name if checkpoint else 'the beginning'}"
        )
        return replay(state, config, corpus, recorded, options.step, device, inspect=options.inspect)


def replay(
    state: TrainState,
    config: Config,
    corpus: Corpus,
    recorded: RecordedSteps,
    stop: int,
    device: torch.device,
    *,
    inspect: bool,
) -> int:
    """Go on from `state` to step `stop`; 1 at the first step that differs, else 0."""
    ddp = DistributedDataParallel(state.model, gradient_as_bucket_view=True)
    ordered = config.sync.reduction == "ordered"
    reduction = OrderedReduction(ddp) if ordered else PlainReduction(ddp, compress=config.sync.compress)
    dataset = SequenceDataset(corpus.splits["train"])
    sampler = make_sampler(dataset, config.batch, seed=config.run.seed)
    loader = make_loader(dataset, sampler, ahead=False)
    last_step = total_steps(config.train, sampler)
    differing = 0
    for step, batches in enumerate(
        run_steps(loader, sampler, start=state.progress.step, stop=stop), state.progress.step + 1
    ):
        shards = [batch.to(device) for batch in batches]
        set_lr(state.optimizer, lr_at(step - 1, last_step, config.optimizer))
        if inspect and step == stop:
            inspect_step(ddp, reduction, state, shards, config, corpus)
            break
        done = update(state, accumulate_gradients(ddp, reduction, state, shards, config), config)
        loss, grad_norm = done.shard_losses.sum().item(), done.grad_norm.item()
        differences = recorded.differences(step, loss, grad_norm, done.digests or {})
        if differences:
            print(f"step {step} differs: {'; '.join(differences)}")
            differing = 1
            break
        if step in recorded.figures:
            digests = f", {len(recorded.digests[step])} gradients" if step in recorded.digests else ""
            print(f"step {step} as recorded: loss {loss!r}, grad_norm {grad_norm!r}{digests}")
    reduction.close()
    return differing


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
