"""Five of the faults of `make chaos`."""

from pathlib import Path
from typing import Any

import pytest

from tests.chaos import FAULTS, Run, disturb, prepare

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("chaos")
    return folder, prepare(folder)


@pytest.mark.parametrize("number", range(5), ids=[fault.__name__ for fault in FAULTS[:5]])
def test_the_run_ends_as_if_nothing_had_happened(undisturbed: tuple[Path, dict[str, Any]], number: int) -> None:
    folder, reference = undisturbed
    disturb(number, FAULTS[number], 1, folder, reference)


def test_the_comparison_can_fail(undisturbed: tuple[Path, dict[str, Any]]) -> None:
    """A run of another seed is not the reference."""
    folder, reference = undisturbed

    def another(run: Run) -> None:
        run.finish("run.seed=2", "train.steps=180")

    with pytest.raises(AssertionError, match="params_sha256"):
        disturb(99, another, 1, folder, reference)
