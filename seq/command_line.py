"""The programs' command lines: parsers, config and overrides, and exit codes."""

import argparse
import io
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from launch.context import Launch, LaunchError, describe_launch, launch_warnings
from launch.tree import wasted_share
from seq.config import Config
from seq.config.own_code import KEYS, trust
from seq.config.read import SHIPPED, load_config
from seq.config.section import describe_keys
from seq.errors import RunError, UserError, warn
from seq.terminal import printable


class _TrainingParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        if "--local-rank" in message or "--local_rank" in message:
            raise UserError("started by torch.distributed.launch, which is old; start it with torchrun instead")
        raise UserError(
            f"{message}; settings are written section.key=value, such as optimizer.lr=3e-3 (--help has all)"
        )


def training_parser() -> argparse.ArgumentParser:
    """`train_ddp.py [CONFIG] [section.key=value ...] [--fresh]`."""
    keys = "\n".join(
        f"  {key}  (default {default})\n      {meaning}" for key, default, meaning in describe_keys(Config)
    )
    parser = _TrainingParser(
        prog="train_ddp.py",
        description="Train a GRU sequence model. The config describes the run; the launch decides how fast it goes.",
        epilog=f"config keys, written section.key=value:\n{keys}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_words(parser)
    _add_trust(parser)
    parser.add_argument("--fresh", action="store_true", help="start over; an existing run is kept beside the new one")
    parser.add_argument(
        "--refit", action="store_true", help="after the run: train NAME-refit on all data, for the steps that it chose"
    )
    return parser


def config_parser(program: str, description: str | None) -> argparse.ArgumentParser:
    """`python -m PROGRAM [CONFIG] [section.key=value ...]`."""
    parser = _parser(program, description)
    _add_words(parser)
    return parser


def run_parser(
    program: str, description: str | None, *, example: str = "runs/names", checkpoint: bool = True
) -> argparse.ArgumentParser:
    """`python -m PROGRAM RUN [--checkpoint NAME]`."""
    parser = _parser(program, description)
    parser.add_argument("run", type=Path, help=f"run directory, such as {example}")
    if checkpoint:
        parser.add_argument(
            "--checkpoint",
            metavar="NAME",
            help="a step such as 500, or best, or a file (default: the best, if one is kept, or the newest)",
        )
    return parser


def answer_help(file: str, parser: argparse.ArgumentParser) -> None:
    """If the program in `file` was started with --help, print it and end, without waiting for torch."""
    if {"-h", "--help"} & set(sys.argv[1:]) and Path(sys.argv[0]).resolve() == Path(file).resolve():
        parser.print_help()
        raise SystemExit(0)


def _parser(program: str, description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {program}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    _add_trust(parser)
    return parser


def _add_trust(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trust-code", action=_Trust, nargs=0, default=False, help="run the code that model.class and train.loss name"
    )


class _Trust(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, given: argparse.Namespace, *_: Any) -> None:
        given.trust_code = True
        trust(*KEYS)


def _add_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="*", metavar="CONFIG | section.key=value", help="default: configs/names.yaml")


def add_row_arguments(parser: argparse.ArgumentParser) -> None:
    """What texts to read, and how to print the answers (`seq.inference.rows`)."""
    parser.add_argument("text", nargs="*", help="texts; none: read --file, or stdin, one a line")
    parser.add_argument("--file", type=Path, help="read a .csv, .tsv, .json, .jsonl or .parquet, or a text a line")
    parser.add_argument(
        "--delimiter", metavar="CHARACTER", help="between the columns of --file (default: as in training)"
    )
    parser.add_argument("--encoding", metavar="NAME", help="of --file (default: as in training)")
    parser.add_argument(
        "--column",
        metavar="NAME",
        help="column of the text in --file, or several: title,review (default: as in training)",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--csv",
        action="store_true",
        help="print CSV: the columns of --file, then the answers'; an apostrophe before what a spreadsheet would run",
    )
    form.add_argument("--json", action="store_true", help="print JSON, an object for each text")


def config_from(words: Sequence[str]) -> Config:
    """The config that the words of a command line ask for. UserError lists every fault."""
    return load_config(*config_and_overrides(words))


def config_and_overrides(words: Sequence[str]) -> tuple[Path, list[str]]:
    """The word without `=` is the config, the others are overrides."""
    if any(word.startswith("=") or word.endswith("=") for word in words):
        raise UserError("a setting is one word, section.key=value, without spaces around the `=`")
    files, overrides = [word for word in words if "=" not in word], [word for word in words if "=" in word]
    if len(files) > 1:
        raise UserError(f"one config at a time, not {' and '.join(files)}")
    trust(*(key for key in KEYS if any(word.startswith(f"{key}=") for word in overrides)))  # whoever names it wants it
    return _config_file(files[0]) if files else SHIPPED / "names.yaml", overrides


def _config_file(name: str) -> Path:
    """The config file that is meant: a file, that of a run directory, or a shipped one, given as `configs/names.yaml` or `names`."""
    if (Path(name) / "config.yaml").is_file():
        return Path(name) / "config.yaml"
    ours = SHIPPED / f"{Path(name).stem}.yaml"
    may_be_ours = Path(name).parent in (Path(), Path("configs")) and Path(name).suffix in ("", ".yaml")
    return ours if may_be_ours and ours.exists() and not Path(name).is_file() else Path(name)


def check_world_size(processes: int, shards: int) -> None:
    """UserError if there are more ranks than shards."""
    if processes > shards:
        raise UserError(
            f"{processes} processes cannot share batch.shards={shards}; start at most {shards} (or set "
            f"batch.shards={processes}, which makes it another run)"
        )


def check_launch(process: Launch, config: Config) -> None:
    """UserError if there are more ranks than shards; rank 0 warns about GPUs and processes that are not used well."""
    shards, ranks = config.batch.shards, process.world_size
    check_world_size(ranks, shards)
    if not process.is_main:
        return
    for warning in launch_warnings(process):
        warn(warning)
    if waste := wasted_share(ranks, shards):
        warn(f"{ranks} processes share {shards} shards unevenly and wait {waste:.0%} of their time")


def exit_code(program: Callable[[], int | None]) -> int:
    """The exit code of `program`. 0: it succeeded (or the code that it returns). 2: invalid config, data or command line; the
    message is printed once on each node. 1: a run cannot continue; the rank that failed prints why. 3: a device computed wrongly. Other
    errors pass."""
    _have_a_home()
    for stream in (sys.stdout, sys.stderr):  # what the terminal cannot show is replaced
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        describe_launch()
        return program() or 0
    except LaunchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except UserError as error:
        if describe_launch().local_rank == 0:
            print(printable(f"error: {error}", sys.stderr), file=sys.stderr)
        return 2
    except (RunError, RuntimeError) as error:
        from launch.group import explain_lost_connection  # imports torch, which takes a second

        message = str(error) if isinstance(error, RunError) else explain_lost_connection(error)
        if message is None:
            raise
        print(printable(f"error: rank {describe_launch().rank}: {message}", sys.stderr), file=sys.stderr)
        sys.stdout.flush()
        os._exit(error.code if isinstance(error, RunError) else 1)  # threads may still wait for ranks that have gone
    except BrokenPipeError:
        # The reader, such as `head`, has closed the pipe. Python would report it again when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _have_a_home() -> None:
    """A user without a home directory, as in some containers, gets a folder of its own: W&B and the cache of data need one."""
    try:
        Path("~").expanduser()
    except RuntimeError:
        home = Path(tempfile.gettempdir()) / f"lockstep-{os.getuid()}"
        home.mkdir(mode=0o700, exist_ok=True)
        if home.is_symlink() or home.stat().st_uid != os.getuid():  # somebody else has made it
            home = Path(tempfile.mkdtemp(prefix="lockstep-"))
        os.environ["HOME"] = str(home)
        warn(f"this user has no home directory; {home} is used instead (set HOME to choose another folder)")
