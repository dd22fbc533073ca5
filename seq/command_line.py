"""What the programs' command lines share: config and overrides, `--help` with every key, and errors that are advice."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from launch.context import describe_launch
from launch.group import explain_lost_connection
from seq.config_file import describe_keys
from seq.errors import RunError, UserError


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(
            f"{message}; settings are written section.key=value, such as optimizer.lr=3e-3 (--help has all)"
        )


def training_parser() -> argparse.ArgumentParser:
    """`train_ddp.py [CONFIG] [section.key=value ...] [--fresh]`."""
    keys = "\n".join(f"  {key}  (default {default})\n      {meaning}" for key, default, meaning in describe_keys())
    parser = _Parser(
        prog="train_ddp.py",
        description="Train a GRU sequence model. The config describes the run; the launch decides how fast it goes.",
        epilog=f"config keys, written section.key=value:\n{keys}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="*", metavar="CONFIG | section.key=value", help="default: configs/names.yaml")
    parser.add_argument("--fresh", action="store_true", help="start over; an existing run is kept beside the new one")
    return parser


def config_and_overrides(words: Sequence[str]) -> tuple[Path, list[str]]:
    """The word without `=` is the config, the others are overrides."""
    if any(word.startswith("=") or word.endswith("=") for word in words):
        raise UserError("a setting is one word, section.key=value, without spaces around the `=`")
    files = [word for word in words if "=" not in word]
    if len(files) > 1:
        raise UserError(f"one config at a time, not {' and '.join(files)}")
    default = Path(__file__).parent.parent / "configs" / "names.yaml"
    return Path(files[0]) if files else default, [word for word in words if "=" in word]


def check_world_size(world_size: int, shards: int) -> None:
    """UserError unless the ranks can share the shards evenly."""
    if shards % world_size:
        fitting = ", ".join(str(size) for size in range(1, shards + 1) if shards % size == 0)
        raise UserError(
            f"world size {world_size} does not divide batch.shards={shards}; start one of {fitting} processes (or set "
            "batch.shards, which makes it another run)"
        )


def exit_code(program: Callable[[], int | None]) -> int:
    """What the program returns, else 0; 2, with the message on stderr once a node, if the user's config or data are at
    fault; 1, with the message of the rank that failed, if a run cannot go on. Other errors pass."""
    try:
        return program() or 0
    except UserError as error:
        if describe_launch().local_rank == 0:
            print(f"error: {error}", file=sys.stderr)
        return 2
    except (RunError, RuntimeError) as error:
        message = str(error) if isinstance(error, RunError) else explain_lost_connection(error)
        if message is None:
            raise
        print(f"error: rank {describe_launch().rank}: {message}", file=sys.stderr)
        sys.stdout.flush()
        os._exit(1)  # threads may still wait for ranks that are gone
    except BrokenPipeError:
        # `... | head` has seen enough. Python would complain once more when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
