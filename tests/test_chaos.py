"""Eight of the faults of `make chaos`, on two runs."""

from pathlib import Path

import pytest

from tests.chaos.__main__ import FAULTS, Case, deal, disturb
from tests.chaos.check import prepare
from tests.chaos.files import checkpoint_flipped, corpus_damaged, disk_full, run_directory_lost
from tests.chaos.processes import killed_at_the_end, terminated_in_a_collective, worker_killed, worker_stopped
from tests.chaos.run import Kind, Run

pytestmark = [pytest.mark.slow, pytest.mark.extended]

CASES = (
    Case(0, "tagger", [worker_killed, checkpoint_flipped, disk_full, worker_stopped]),
    Case(1, "tagger", [run_directory_lost, terminated_in_a_collective, corpus_damaged, killed_at_the_end]),
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Kind]:
    folder = tmp_path_factory.mktemp("chaos")
    return folder, prepare(folder, "tagger")


@pytest.mark.parametrize("case", CASES, ids=["first", "second"])
def test_the_run_ends_as_if_nothing_had_happened(undisturbed: tuple[Path, Kind], case: Case) -> None:
    folder, kind = undisturbed
    disturb(case, 1, folder, kind)


def test_the_comparison_can_fail(undisturbed: tuple[Path, Kind]) -> None:
    """A run of another seed is not the reference."""
    folder, kind = undisturbed

    def another(run: Run) -> None:
        run.finish("run.seed=2")

    with pytest.raises(AssertionError, match="params_sha256"):
        disturb(Case(99, "tagger", [another]), 1, folder, kind)


def test_every_fault_is_dealt_as_often_as_any_other() -> None:
    dealt = [fault for case in deal(100, seed=3) for fault in case.faults]
    counts = {dealt.count(fault) for fault in FAULTS}
    assert len(dealt) == 100
    assert max(counts) - min(counts) <= 1
