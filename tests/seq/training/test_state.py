import numpy as np
import pytest

from seq.data.plan import ShardSizes
from seq.training.state import Progress


def test_progress_counts() -> None:
    progress = Progress()
    progress.advance(
        ShardSizes(
            rows=np.array([2, 1]),
            tokens=np.array([7, 3]),
            target_tokens=np.array([7, 3]),
            examples=np.array([2, 1]),
            shape=(2, 4),
        )
    )
    figures = progress.figures()
    assert (progress.step, figures["tokens_seen"], figures["examples_seen"]) == (1, 10, 3)
    assert figures["padding_fraction"] == pytest.approx(1 - 10 / 16)
    assert figures["imbalance"] == pytest.approx(7 / 5 - 1)
