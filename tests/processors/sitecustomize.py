"""Pretend another processor: `LOCKSTEP_PROCESSOR=amx PYTHONPATH=tests/processors make test`.

Python imports this file when it starts, if PYTHONPATH has its folder, so every program of the tests runs on that processor.
`LOCKSTEP_PROCESSOR` has one or several of these words:

amx        products of `fast_fp32` have 8-bit mantissas, so the key is refused (Sapphire Rapids and later)
no-bf16    bf16 is imitated (no AVX-512 BF16)
one-core   there is one core
"""

import os
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

PROCESSOR = os.environ.get("LOCKSTEP_PROCESSOR", "").split()
ANSWERS: dict[str, Any] = {}
if "amx" in PROCESSOR:
    ANSWERS["fast_fp32_error"] = lambda: 2.6e-3
if "no-bf16" in PROCESSOR:
    ANSWERS["imitates_bf16"] = lambda: True
if "one-core" in PROCESSOR:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.cpu_count = lambda: 1


class Patched(Loader):
    def __init__(self, own: Loader) -> None:
        self._own = own

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._own.exec_module(module)
        missing = ANSWERS.keys() - vars(module).keys()
        assert not missing, f"{module.__name__} has no {missing}"
        vars(module).update(ANSWERS)


class Finder(MetaPathFinder):
    """Patches `launch.seeding`, which asks the processor, as soon as it has been imported."""

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name == "launch.seeding" else None
        if spec is not None and spec.loader is not None:
            spec.loader = Patched(spec.loader)
        return spec


sys.meta_path.insert(0, Finder())
