"""Does this machine keep lockstep? python -m seq.doctor [CONFIG] [section.key=value ...]

It runs the first 8 steps at every world size that the machine allows, compares all losses, gradients and parameters to
the last bit, and says whether they are equal; if not, which setting broke it. It also compares matrix products of 1 to 8 shards of many
sizes, because another step may have sizes that these steps lack. Exit code 0 if all are equal, else 1.
"""

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from seq.command_line import answer_help, config_and_overrides, config_parser, exit_code

PARSER = config_parser("seq.doctor", __doc__)
answer_help(__file__, PARSER)  # before the imports below, which take seconds

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from launch.context import PROGRAM
from launch.device import device_of, gpu_count
from seq.config import Config
from seq.config.read import load_config
from seq.errors import UserError
from seq.models.products import multiply
from seq.run.environment import cpu_name
from seq.run.recorded import RecordedSteps
from seq.terminal import progress_bar
from seq.training.precision import configure_numerics

STEPS, PRODUCTS = 8, 200
MOST_PROCESSES = 8

SUSPECTS = ("sync.reduction=ordered", "run.deterministic=true", "train.precision=fp32", "run.threads=1")
"""Settings that keep lockstep. If a run does not keep it, the doctor tries them one by one."""


@dataclass(frozen=True)
class FirstSteps:
    """The result of one launch."""

    world_size: int
    params_sha256: str
    recorded: RecordedSteps

    def difference(self, other: "FirstSteps") -> str | None:
        """A message about the first difference; None if everything is equal."""
        for step in self.recorded.steps_of_both(other.recorded):
            if found := self.recorded.differences(other.recorded, step):
                return f"step {step}: {found[0]}"
        return None if self.params_sha256 == other.params_sha256 else "the parameters, after equal gradients"


def main(arguments: list[str]) -> int:
    path, overrides = config_and_overrides(PARSER.parse_intermixed_args(arguments).words)
    config = load_config(path, overrides)
    with tempfile.TemporaryDirectory() as folder:
        sizes = progress_bar(world_sizes(config), "world sizes")
        runs = [first_steps(path, overrides, size, Path(folder)) for size in sizes]
        differences = [runs[0].difference(run) for run in runs]
        print(f"{cpu_name()}, torch {torch.__version__}")
        Console(width=130).print(table(runs, differences))
        if not any(differences):
            if differing := differing_products(config):
                print(
                    f"lockstep is kept in these steps, but a product of {differing[0]} depends on the number of shards: "
                    "set run.pass_tokens=1, which is slower"
                )
                return 1
            print(
                f"lockstep is kept: {len(runs)} world sizes, and {PRODUCTS} products of 1 to 8 shards, the same bits."
            )
            return 0
        worst = next(run.world_size for run, difference in zip(runs, differences, strict=True) if difference)
        print(f"lockstep is NOT kept. {diagnose(path, overrides, worst, Path(folder))}")
        return 1


def world_sizes(config: Config) -> list[int]:
    """Return 1 to 4, then powers of two: at most one process per GPU (but at least 2) or 8 on a CPU, and one per shard."""
    most = max(2, gpu_count()) if gpu_count() else MOST_PROCESSES
    return [size for size in (1, 2, 3, 4, 8, 16, 32, 64) if size <= min(most, config.batch.shards)]


def first_steps(path: Path, overrides: list[str], world_size: int, folder: Path) -> FirstSteps:
    """Start the trainer as a user would, for 8 steps."""
    name = f"run-{len(list(folder.iterdir()))}"
    settings = [
        "logging.every_steps=1",
        "logging.digests=true",
        "logging.wandb=disabled",
        "logging.report=false",
        f"train.steps={STEPS}",
        "optimizer.warmup_steps=1",
        "sync.check_every=1",
        f"run.output_dir={folder}",
        f"run.name={name}",
    ]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={world_size}"]
    command = [sys.executable, *launcher, str(PROGRAM), str(path), *overrides, *settings]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        # The trainer's own message, without torchrun's report about the failed process.
        own = re.search(r"^error: (.*?)(?=^[A-Z]\d{4} |^Traceback|\Z)", done.stderr, flags=re.DOTALL | re.MULTILINE)
        raise UserError(own[1].strip() if own else f"{world_size} processes: the run failed:\n{done.stderr}")
    result = json.loads((folder / name / "result.json").read_text())
    return FirstSteps(world_size, result["params_sha256"], RecordedSteps.read(folder / name))


def table(runs: list[FirstSteps], differences: list[str | None]) -> Table:
    shown = Table("processes", f"loss of step {STEPS}", "params_sha256", "as with 1 process")
    for run, difference in zip(runs, differences, strict=True):
        loss = repr(run.recorded.figures[STEPS]["step_loss"])
        shown.add_row(str(run.world_size), loss, run.params_sha256[:32], difference or "the same bits")
    return shown


def differing_products(config: Config) -> list[str]:
    """Sizes of matrix products whose bits depend on the number of shards that are computed together."""
    generator, device, found = torch.Generator().manual_seed(0), device_of(), list[str]()
    configure_numerics(config, device)
    for number in range(PRODUCTS):
        rows, inner, columns = (torch.randint(1, 33, (3,), generator=generator) * (4 if number % 4 else 1)).tolist()
        dtype = (torch.float32, torch.bfloat16)[number % 2]
        inputs, gradient = (
            torch.randn(8, rows, size, generator=generator).to(device, dtype) for size in (inner, columns)
        )
        weight = torch.randn(columns, inner, generator=generator).to(device, dtype)
        whole = _products(inputs, gradient, weight)
        for shards in (1, 2, 4):
            pairs = zip(inputs.split(shards), gradient.split(shards), strict=True)  # type: ignore[no-untyped-call]
            parts = [_products(own.clone(), other.clone(), weight) for own, other in pairs]
            if not all(
                torch.equal(one, torch.cat(own)) for one, own in zip(whole, zip(*parts, strict=True), strict=True)
            ):
                found.append(f"{rows} x {inner} x {columns} in {dtype}")
    return found


def _products(inputs: Tensor, gradient: Tensor, weight: Tensor) -> list[Tensor]:
    """Those of a linear layer, forward and backward."""
    weights = weight.expand(inputs.shape[0], -1, -1)
    forward, backward = multiply(inputs, weights.transpose(1, 2)), multiply(gradient, weights)
    return [forward, backward, multiply(gradient.transpose(1, 2), inputs)]


def diagnose(path: Path, overrides: list[str], world_size: int, folder: Path) -> str:
    """Which of the settings restores lockstep."""
    config = load_config(path, overrides)
    for setting in SUSPECTS:
        if load_config(path, [*overrides, setting]) == config:
            continue
        alone, together = (first_steps(path, [*overrides, setting], size, folder) for size in (1, world_size))
        if alone.difference(together) is None:
            return f"With {setting} it is."
    return "No setting restores it: look at the versions of torch and the drivers, and at the hardware."


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
