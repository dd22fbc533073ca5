"""The clock of the gradient exchange."""

import time

import pytest
import torch

from launch.device import SyncTimer, to_device


def test_on_a_cpu_it_is_the_clock_of_the_host() -> None:
    timer = SyncTimer(torch.device("cpu"))
    for _ in range(2):
        timer.bucket_ready()
        timer.bucket_ready()  # the last one counts
        time.sleep(0.01)
        timer.finish()
    assert 0.02 <= timer.take() < 1
    assert timer.take() == 0


def test_on_a_gpu_it_waits_for_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step's time is taken when the device has come to its end; earlier steps first."""
    now = [0.0]

    class Event:
        def record(self) -> None:
            self.at = now[0]

        def query(self) -> bool:
            return self.at <= reached[0]

        def elapsed_time(self, other: "Event") -> float:
            return other.at - self.at

    reached = [-1.0]
    monkeypatch.setattr(torch.cuda, "Event", lambda enable_timing: Event())
    timer = SyncTimer(torch.device("cuda"))
    for begin, end in ((1000.0, 1500.0), (3000.0, 3250.0)):
        now[0] = begin
        timer.bucket_ready()
        now[0] = end
        timer.finish()
    assert timer.take() == 0
    reached[0] = 2000.0
    assert timer.take() == 0.5
    reached[0] = 4000.0
    assert timer.take() == 0.25
    assert timer.take() == 0


def test_a_cpu_tensor_stays_where_it_is() -> None:
    values = torch.ones(3)
    assert to_device(values, torch.device("cpu")) is values
