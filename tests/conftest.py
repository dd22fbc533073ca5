"""The tests share the machine with the user's runs, but not the user's caches."""

import os

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)

# The machine may be busy: how long an example takes decides nothing.
settings.register_profile("lockstep", deadline=None)
settings.load_profile("lockstep")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["HF_HOME"] = str(tmp_path_factory.mktemp("hf"))
    os.environ["HF_HUB_OFFLINE"] = "1"
