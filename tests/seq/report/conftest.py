"""A run directory for the tests of the report."""

from pathlib import Path

import pytest

from tests.seq.report.test_page import make_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "one")
