"""A pytest plugin, `-p tests.failures`: writes each failure to the file `$FAILURES` as soon as it happens.

pytest shows failures at its end. Where a time limit may stop it before, they would be lost.
"""

import os

import pytest


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        with open(os.environ["FAILURES"], "a") as file:
            file.write(
                f"#### {report.nodeid} {report.when}, {report.duration:.0f} s\n{report.longreprtext[-6000:]}\n\n"
            )
