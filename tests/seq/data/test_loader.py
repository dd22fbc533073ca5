from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seq.config import BatchConfig
from seq.data.loader import BatchLoader
from seq.data.ragged import RaggedArray
from seq.data.split import Split
from seq.tasks import TASKS
from tests.helpers import alone


@pytest.fixture(autouse=True)
def group() -> Iterator[None]:
    with alone():
        yield


@pytest.mark.parametrize("order", ["bucketed", "stateful"])
@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(1, 9), min_size=2, max_size=12), start=st.integers(0, 20), more=st.integers(1, 8))
def test_from_any_step_the_rest_of_the_run(order: Any, lengths: list[int], start: int, more: int) -> None:
    """Also where the run goes on in a later epoch, and through the ends of epochs."""
    offsets = np.concatenate(([0], np.cumsum(np.array(lengths) + 1)))
    split = Split.of(RaggedArray(np.arange(1, offsets[-1] + 1), offsets), None, 0, TASKS["language_modeling"])
    batch = BatchConfig(order=order, shards=2, rows=2, bptt=4, tokens=64)
    whole = _flat(BatchLoader(split, batch, seed=3), 0, start + more)
    assert _flat(BatchLoader(split, batch, seed=3), start, start + more) == whole[start:]


def _flat(loader: BatchLoader, start: int, stop: int) -> list[list[str]]:
    return [[str(shard) for shard in shards] for shards in loader.steps(start, stop)]
