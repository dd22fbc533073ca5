from launch.group import explain_lost_connection


def test_lost_connections_are_told_from_other_errors() -> None:
    closed = RuntimeError("[third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:1")
    assert "lost the connection" in (explain_lost_connection(closed) or "")
    assert explain_lost_connection(RuntimeError("size mismatch for output.weight")) is None
