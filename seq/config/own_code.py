"""Code of the user's own: `model.class` and `train.loss` name a class and a function in a Python file beside the config.

The config keeps the source of the file (`run.code`), so the run directory, its checkpoints and its exported model have it too, and a run
whose code has changed is another run. A config may come from a stranger. So its code runs only if the user asks for it: by naming it on
the command line, by --trust-code, or by `seq.load(..., trust_code=True)`.
"""

import linecache
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from seq.config.run import Config
from seq.errors import UserError
from seq.files import read_text

TRUST = "LOCKSTEP_TRUST_CODE"
"""Variable with the keys whose code may run, such as `model.class,train.loss`. Processes that this one starts inherit it."""
KEYS = ("model.class", "train.loss")
LARGEST = 1 << 18
"""Bytes of a file with code."""


def trust(*keys: str) -> None:
    """From now on, the code that these keys name may run."""
    os.environ[TRUST] = ",".join({*keys, *os.environ.get(TRUST, "").split(",")} - {""})


@contextmanager
def trusting(wanted: bool) -> Iterator[None]:
    """While the context is open, all code may run, if `wanted`."""
    before = os.environ.get(TRUST, "")
    if wanted:
        trust(*KEYS)
    try:
        yield
    finally:
        os.environ[TRUST] = before


def with_code(config: Config, folder: Path, named_now: Iterable[str]) -> Config:
    """The config with the source of the code that it names. It is beside the config, in `folder`, or in the config itself. What the
    command line names (`named_now`) may also be in the current folder, and nowhere inside the config. UserError if it is missing."""
    sources = dict[str, str]()
    for key, spec in _named(config).items():
        module = spec.partition(":")[0]
        folders = [Path(), folder] if key in named_now else [folder]
        file = next((file for place in folders if (file := place / f"{module}.py").is_file()), None)
        if file is not None:
            sources[module] = _read(file)
        elif module in config.run.code and key not in named_now:
            sources[module] = config.run.code[module]
        else:
            raise UserError(f"{key}={spec}: there is no {module}.py in {' or '.join(map(str, folders))}")
    if sources == config.run.code:
        return config
    return config.model_copy(update={"run": config.run.model_copy(update={"code": sources})})


def own_code(config: Config, key: str) -> Any:
    """The object that `key` names; None if it names none. UserError if the code is not trusted, or does not run."""
    if (spec := _named(config).get(key)) is None:
        return None
    module, _, name = spec.partition(":")
    if key not in os.environ.get(TRUST, "").split(","):
        raise UserError(
            f"{key}={spec}: the config brings its own Python code, which could do anything on this machine. If you trust it, add --trust-code "
            "(in Python: seq.load(..., trust_code=True))"
        )
    try:
        found = vars(_module(module, config.run.code[module]))
    except Exception as error:
        advice = "; the file may import installed packages, and no second file of yours" * isinstance(
            error, ImportError
        )
        raise UserError(f"{key}={spec}: {type(error).__name__}: {error}{advice}") from error
    if name not in found:
        own = [each for each in found if getattr(found[each], "__module__", "") == found["__name__"]]
        raise UserError(f"{key}={spec}: {module}.py has no {name}; it has {', '.join(own) or 'nothing'}")
    return found[name]


def _named(config: Config) -> dict[str, str]:
    found = {"model.class": config.model.own_class, "train.loss": config.train.loss}
    return {key: spec for key, spec in found.items() if spec is not None}


def _read(file: Path) -> str:
    try:
        return read_text(file, LARGEST)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read: {error}") from None


@cache
def _module(name: str, source: str) -> ModuleType:
    """A module with this source. Tracebacks and the debugger show its lines."""
    module = ModuleType(f"run_code_{name}")
    file = f"{name}.py"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    sys.modules[module.__name__] = module  # dataclasses look for their module there
    exec(compile(source, file, "exec"), module.__dict__)
    return module
