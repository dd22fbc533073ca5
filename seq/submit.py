"""Submit a training run to SLURM, after checking what would otherwise fail hours later in the queue:

python -m seq.submit CONFIG [section.key=value ...] --nodes 2 --gpus-per-node 4 --time 2:00:00 [--qos=long ...] [--dry-run]

Options that are not listed here go to sbatch as they are; write them with `=`, such as --qos=long or --gres=gpu:a100:4.

Checked first: the config, the number of processes against `batch.shards`, the data (which are prepared here, if they
are not yet), what is in the run directory, and that the time limit leaves room for the warning before it.
"""

import argparse
import re
import sys
from pathlib import Path

from seq.command_line import answer_help, check_world_size, config_and_overrides, config_parser, exit_code

PARSER = config_parser("seq.submit", __doc__)
PARSER.allow_abbrev = False  # `--part=gpu` is for sbatch
PARSER.add_argument("--nodes", type=int, default=1)
PARSER.add_argument("--gpus-per-node", default="0", metavar="N", help="4 or a100:4; 0: none, it computes on CPUs")
PARSER.add_argument("--ranks-per-node", type=int, help="processes a node; one a GPU, or 1 without GPUs")
PARSER.add_argument("--time", default="1:00:00", help="limit of one start: hours:minutes:seconds")
PARSER.add_argument("--lead", type=int, default=120, help="seconds before the limit at which the run saves and stops")
PARSER.add_argument("--start", choices=["torchrun", "srun"], default="torchrun", help="what starts the processes")
PARSER.add_argument("--partition")
PARSER.add_argument("--account")
PARSER.add_argument("--seeds", default="", metavar="1-5", help="a job array: a run NAME-seedN for each seed")
PARSER.add_argument("--dry-run", action="store_true", help="print the batch script, and submit nothing")
answer_help(__file__, PARSER)  # before the imports below, which take seconds

from launch.slurm import Job, SlurmError, gpus_in, seconds, submit
from seq.config import Config
from seq.config.read import load_config
from seq.errors import UserError
from seq.files import write_atomically
from seq.run.directory import RunDirectory
from seq.run.run import Run
from seq.training.hyperparameters import with_earlier_hyperparameters


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    path, overrides = config_and_overrides(options.words)
    config = load_config(path, overrides)
    directory = RunDirectory.of(config)
    job = _job(options, config, directory)
    check_world_size(job.world_size, config.batch.shards)
    _check_time(job)
    directory.check(with_earlier_hyperparameters(config, directory.config_file))
    if (result := directory.read_result()) and result["status"] == "finished":
        raise UserError(f"{directory.path}: already finished; choose another run.name")
    Run.open(config, directory)
    script = job.script([str(path.absolute()), *overrides, *["--trust-code"] * options.trust_code])
    if options.dry_run:
        print(script, end="")
        return 0
    directory.path.mkdir(parents=True, exist_ok=True)
    file = directory.path / "job.sbatch"
    write_atomically(file, script)
    try:
        number = submit(file)
    except SlurmError as error:
        raise UserError(f"{file}: {error}") from None
    print(f"job {number}: {job.nodes} x {job.ranks_per_node} processes, at most {job.time} at a time, then requeued")
    print(f"log: {job.log}")
    return 0


def _options(arguments: list[str]) -> argparse.Namespace:
    """The options; `sbatch` has those that are not ours."""
    options, others = PARSER.parse_known_intermixed_args(arguments)
    options.sbatch = [other for other in others if other.startswith("-")]
    for other in options.sbatch:
        if not other.startswith("--"):
            raise UserError(
                f"{other}: write an option of sbatch in its long form, as one word, such as --partition=gpu"
            )
        if other.startswith("--array"):
            raise UserError(f"{other}: several runs need names of their own; use --seeds 1-5, or slurm/sweep.sbatch")
    if not re.fullmatch(r"(\d+(-\d+)?(,\d+(-\d+)?)*)?", options.seeds):
        raise UserError(f"--seeds {options.seeds}: write numbers or ranges, such as 1-5 or 1,3,7")
    for word in others:
        before = arguments[arguments.index(word) - 1]
        if "=" not in word and word not in options.sbatch and before in options.sbatch and "=" not in before:
            raise UserError(
                f"{before} {word}: write an option of sbatch as one word, {before}={word}, after the config"
            )
    options.words += [other for other in others if not other.startswith("-")]
    return options


def _job(options: argparse.Namespace, config: Config, directory: RunDirectory) -> Job:
    for name in ("nodes", "ranks_per_node"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise UserError(f"--{name.replace('_', '-')} {value}: must be at least 1")
    named = [f"--{name}={value}" for name in ("partition", "account") if (value := getattr(options, name))]
    gres = [option.partition("=")[2] for option in options.sbatch if option.startswith("--gres=gpu")]
    if gres and options.gpus_per_node != "0":
        raise UserError("--gpus-per-node and --gres ask for GPUs twice; give one of them")
    try:
        gpus = max(map(gpus_in, [options.gpus_per_node, *gres]))
    except ValueError as error:
        raise UserError(str(error)) from None
    return Job(
        name=config.run.name,
        log=Path(directory.path).absolute() / ("job-%A_%a.out" if options.seeds else "job-%j.out"),
        nodes=options.nodes,
        gpus_per_node=options.gpus_per_node,
        ranks_per_node=options.ranks_per_node or max(1, gpus),
        time=options.time,
        lead=options.lead,
        start=options.start,
        options=(*named, *options.sbatch),
        seeds=options.seeds,
    )


def _check_time(job: Job) -> None:
    try:
        limit = seconds(job.time)
    except ValueError as error:
        raise UserError(f"--time: {error}") from None
    if limit < 2 * job.lead:
        raise UserError(
            f"--time {job.time}: leaves no time to train before the warning, {job.lead} s ahead of the limit (--lead)"
        )


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
