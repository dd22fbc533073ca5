import time

import pytest

from seq.run.ledger import Ledger


def test_ledger_adds_up() -> None:
    ledger = Ledger()
    with ledger("compute"):
        time.sleep(0.02)
    assert list(ledger.each("data", [1, 2])) == [1, 2]
    ledger.started(0)
    ledger.move("compute", "sync", 0.005)
    # The earlier start had booked 6 s at its last checkpoint, and lived for 8.
    lived = ledger.wall()
    ledger.add_earlier({"compute": 5.0, "other": 1.0}, 8.0)
    summary = ledger.summary()
    assert set(summary) == {"compute", "sync", "data", "startup", "lost", "other"}
    assert summary["compute"] == pytest.approx(5.015, abs=0.02)
    assert summary["lost"] == pytest.approx(2.0)
    assert summary["startup"] > 0.01  # this test's process has lived longer than its ledger
    assert sum(summary.values()) == pytest.approx(8.0 + lived, abs=0.5)
    figures = ledger.figures()
    assert sum(figures["ledger"].values()) == pytest.approx(figures["wall_seconds"], rel=0.02)
    assert figures["goodput"] == pytest.approx(summary["compute"] / figures["wall_seconds"], rel=0.1)
