"""Five of the faults of `make chaos`."""

from pathlib import Path

import pytest

from tests.chaos import FAULTS, Kind, Run, disturb, prepare

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Kind]:
    folder = tmp_path_factory.mktemp("chaos")
    return folder, prepare(folder, "tagger")


@pytest.mark.parametrize("number", range(5), ids=[fault.__name__ for fault in FAULTS[:5]])
def test_the_run_ends_as_if_nothing_had_happened(undisturbed: tuple[Path, Kind], number: int) -> None:
    folder, kind = undisturbed
    disturb(number, FAULTS[number], 1, folder, kind)


def test_the_comparison_can_fail(undisturbed: tuple[Path, Kind]) -> None:
    """A run of another seed is not the reference."""
    folder, kind = undisturbed

    def another(run: Run) -> None:
        run.finish("run.seed=2")

    with pytest.raises(AssertionError, match="params_sha256"):
        disturb(99, another, 1, folder, kind)
