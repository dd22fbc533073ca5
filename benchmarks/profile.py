"""Where the time of a step goes: torch's profiler over some steps on one process.

python -m benchmarks.profile [CONFIG] [section.key=value ...]
"""

import sys

import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.timing import DEVICE, Report
from launch.context import describe_launch
from launch.device import device_of
from launch.group import process_group
from seq.command_line import config_from, config_parser, exit_code
from seq.config import Config
from seq.data.corpus import Corpus, prepare_corpus
from seq.data.loader import BatchLoader
from seq.tasks import task_of
from seq.training.pass_size import choose_pass_size
from seq.training.precision import configure_numerics
from seq.training.step import Trainer

STEPS, UNTIMED, ROWS = 20, 5, 25
"""Steps that are profiled, steps before them, and operators to show."""


def main(arguments: list[str]) -> None:
    config = config_from(config_parser("benchmarks.profile", __doc__).parse_args(arguments).words)
    corpus, process = prepare_corpus(config.data, task_of(config)), describe_launch()
    configure_numerics(config, device_of(process.local_rank))
    with process_group(process, timeout_seconds=config.run.timeout_seconds) as device:
        measured = measure(config, corpus, device)
    total = sum(map(spent_in, measured)) or 1.0  # the driver may refuse to time kernels
    report = Report(
        "profile",
        f"{config.run.name}: self time by operator, {STEPS} steps",
        ["operator", "calls a step", "ms a step", "share"],
    )
    for event in sorted(measured, key=spent_in, reverse=True)[:ROWS]:
        spent = spent_in(event)
        report.add(event.key, event.count / STEPS, spent / STEPS / 1000, spent / total)
    report.add("all", sum(event.count for event in measured) / STEPS, total / STEPS / 1000, 1.0)
    report.show()


def spent_in(event: torch.autograd.profiler_util.FunctionEventAvg) -> float:
    """Microseconds in the operator itself on a CPU, in the kernel on a GPU. There, operators and named ranges report the time of their
    kernels again, so they count as zero."""
    if DEVICE.type == "cpu":
        return float(event.self_cpu_time_total)
    is_kernel = event.device_type == DeviceType.CUDA and not event.is_user_annotation
    return float(event.self_device_time_total) if is_kernel else 0.0


def measure(
    config: Config, corpus: Corpus, device: torch.device
) -> list[torch.autograd.profiler_util.FunctionEventAvg]:
    """Self times of operators; what lies between them (Python) is counted for the part of the step around it."""
    batches = BatchLoader(corpus.splits["train"], config.batch, seed=config.run.seed)
    trainer = Trainer(config, task_of(config), corpus, device)
    choose_pass_size(trainer, batches)
    steps = batches.steps(0, UNTIMED + STEPS)
    trainer.set_lr(0, batches.steps_per_epoch)
    for _ in range(UNTIMED):
        trainer.update(trainer.accumulate_gradients(next(steps)))
    gpu = [ProfilerActivity.CUDA] if DEVICE.type == "cuda" else []
    with profile(activities=[ProfilerActivity.CPU, *gpu]) as profiler:
        for _ in range(STEPS):
            with record_function("part: batches"):
                passes = next(steps)
            with record_function("part: gradients"):
                losses = trainer.accumulate_gradients(passes)
            with record_function("part: update"):
                trainer.update(losses)
    trainer.close()
    return list(profiler.key_averages())


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
