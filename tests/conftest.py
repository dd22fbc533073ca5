"""The tests share the machine with the user's runs, but not the user's caches."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from tests.helpers import train
from tests.runs import words

torch.set_num_threads(1)

# The machine may be busy: how long an example takes decides nothing.
settings.register_profile("lockstep", deadline=None)
settings.load_profile("lockstep")


LONG = (
    "test_same_bits",
    "test_readme",
    "test_pretend_gpu",
    "test_chaos",
    "test_train_ddp",
    "test_package",
    "test_doctor",
)
"""Files that take minutes. They come first, so that no process is left with one of them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


def chooses_gpu(marks: str) -> bool:
    """Whether the words after `-m` ask for tests of GPUs."""
    return re.search(r"(?<!not )\bgpu\b", marks) is not None


def pytest_configure(config: pytest.Config) -> None:
    """The tests describe CPUs, and see no GPU where there is one, unless tests for GPUs are chosen, as by `pytest -m gpu`."""
    if not chooses_gpu(config.option.markexpr):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """A test that fails inside a process group leaves none to the next one."""
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["HF_HOME"] = str(tmp_path_factory.mktemp("hf"))
    os.environ["HF_HUB_OFFLINE"] = "1"


# A small run of each kind, made once for all tests that look at one.


@pytest.fixture(scope="session")
def names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _run(tmp_path_factory, "names", "logging.wandb=offline", "logging.artifacts=all", world_size=2)


@pytest.fixture(scope="session")
def speeches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _run(tmp_path_factory, "speeches", "logging.wandb=offline", "logging.tensorboard=true")


@pytest.fixture(scope="session")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _run(tmp_path_factory, "name_generator", world_size=2)


def _run(factory: pytest.TempPathFactory, kind: str, *settings: str, world_size: int = 1) -> Path:
    folder = factory.mktemp("runs")
    done = train(*words(folder, kind, f"run.name={kind}", "logging.report=true", *settings), world_size=world_size)
    assert done.returncode == 0, done.stderr
    return folder / kind
