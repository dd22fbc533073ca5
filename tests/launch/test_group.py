from datetime import timedelta

import torch

from launch.context import describe_launch
from launch.exchange import new_group
from launch.group import BACKSTOP_SECONDS, explain_lost_connection, process_group


def test_every_group_has_the_timeout_of_the_run() -> None:
    with process_group(describe_launch(), timeout_seconds=7):
        options = new_group()._get_backend(torch.device("cpu")).options
        assert options._timeout == timedelta(seconds=7 + BACKSTOP_SECONDS)


def test_lost_connections_are_told_from_other_errors() -> None:
    closed = RuntimeError("[third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:1")
    assert "lost the connection" in (explain_lost_connection(closed) or "")
    assert explain_lost_connection(RuntimeError("size mismatch for output.weight")) is None
