import os
import signal
from pathlib import Path

import pytest

from launch.preemption import Preemption
from tests.helpers import run_ranks


def _stop(rank: int) -> None:
    preemption = Preemption()
    answers = []
    for step in range(4):
        if (rank, step) in ((1, 2), (0, 3)):
            os.kill(os.getpid(), signal.SIGUSR1 if rank else signal.SIGINT)
        preemption.ask()
        answers.append(preemption.answer())
    # The largest number wins where there are two: SIGUSR1 is 10, SIGINT 2.
    assert answers == [None, None, "SIGUSR1", "SIGUSR1"]
    preemption.close()
    os.kill(os.getpid(), signal.SIGTERM)  # a late signal does not interrupt what is left to write


@pytest.mark.slow
def test_ranks_agree_on_the_step(tmp_path: Path) -> None:
    run_ranks(_stop, 2, tmp_path)
