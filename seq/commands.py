"""lockstep COMMAND ...: every program under one name, as `pip install` gives it.

In a clone, `python -m seq COMMAND` is the same, and each program can be run by itself: `python train_ddp.py`, `python -m seq.COMMAND`.
"""

import importlib
import importlib.util
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.machinery import ModuleSpec
from pathlib import Path

import seq

TRAIN = "train_ddp" if (Path(seq.__file__).parents[1] / "train_ddp.py").is_file() else "seq.entry.train_ddp"
PROGRAMS = {
    "train": (TRAIN, "train a model: lockstep train [--processes N] [CONFIG] [section.key=value ...]"),
    "inspect": ("seq.inspect", "show config, data and batches before training"),
    "predict": ("seq.predict", "labels, numbers, tags or outputs for texts"),
    "generate": ("seq.generate", "text of a language model"),
    "evaluate": ("seq.evaluate", "the figures of a run on its data or others"),
    "report": ("seq.report.__main__", "a page with the figures and curves of runs"),
    "export": ("seq.export", "a model for other programs: ONNX, safetensors"),
    "replay": ("seq.replay", "do steps of a run again, and compare them with its record"),
    "doctor": ("seq.doctor", "check that this machine trains to the same bits on any number of processes"),
    "submit": ("seq.submit", "send a run to SLURM"),
}


def main() -> int:
    """The exit code of the program that the command line names."""
    name, *words = sys.argv[1:] or ["--help"]
    if name in ("--help", "-h", "--version"):
        print(f"lockstep {seq.__version__}" if name == "--version" else _help())
        return 0
    if name not in PROGRAMS:
        near = get_close_matches(name, PROGRAMS, 1)
        advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(PROGRAMS)}"
        print(f"error: lockstep {name}: no such command; {advice}", file=sys.stderr)
        return 2
    if name == "train" and (number := _take_processes(words)) is not None:
        return _on_several_processes(number, words)
    from seq.command_line import exit_code  # not needed above, and takes a while

    sys.argv = [str(_program(PROGRAMS[name][0]).origin), *words]
    module = importlib.import_module(PROGRAMS[name][0])
    return exit_code(lambda: module.main(words))


def _program(module: str) -> ModuleSpec:
    found = importlib.util.find_spec(module)
    assert found is not None
    return found


def _help() -> str:
    lines = [f"  {name:<10} {meaning}" for name, (_, meaning) in PROGRAMS.items()]
    return "\n".join(["usage: lockstep COMMAND ...  (lockstep COMMAND --help says more)", "", *lines])


def _take_processes(words: list[str]) -> str | None:
    """Take `--processes N` or `--processes=N` out of the words, wherever it is; None if it is not there."""
    for place, word in enumerate(words):
        option, sign, number = word.partition("=")
        if option == "--processes":
            end = place + (1 if sign else 2)
            number = number if sign else " ".join(words[place + 1 : end])
            del words[place:end]
            return number
    return None


def _on_several_processes(number: str, words: list[str]) -> int:
    """Do what `torchrun` does, without its report about a failed process, because that process has already printed the reason."""
    if not number.isdigit():
        print("error: lockstep train --processes N: N is a number, such as 2", file=sys.stderr)
        return 2
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    logging.disable(logging.ERROR)
    try:
        with _private_store() as store:
            # As a file: with `-m`, a clone in the current folder would hide the installed package.
            torchrun([*store, f"--nproc_per_node={number}", str(_program(TRAIN).origin), *words])
    except SignalException:
        return 1  # as torchrun; the run has saved itself
    except ChildFailedError as error:
        codes = [failure.exitcode for failure in error.failures.values()]
        return 2 if 2 in codes else 1
    return 0


@contextmanager
def _private_store() -> Iterator[list[str]]:
    """torchrun's options for processes that meet in a folder which only this user may open. `--standalone` would listen on every
    network interface, without a password, and run what it is sent."""
    with tempfile.TemporaryDirectory(prefix="lockstep-") as folder:
        os.environ |= {"LOCKSTEP_STORE": f"{folder}/ranks", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
        if Path("/sys/class/net/lo").exists():
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        yield ["--rdzv-backend=c10d", f"--rdzv-endpoint={folder}/agent", "--rdzv-conf=store_type=file", "--nnodes=1"]
