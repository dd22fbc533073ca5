"""Lines survive a full disk and a kill."""

import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seq.run.json_lines import JsonLines, read_lines


@given(st.lists(st.integers(0, 200), max_size=12), st.data())
def test_lines_survive_torn_writes_and_full_disks(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], data: st.DataObject
) -> None:
    """At a random moment nothing more fits, for a while; in the end every line is there once, in order."""
    path = tmp_path_factory.mktemp("lines") / "metrics.jsonl"
    lines, limit = JsonLines(path), resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        for step, size in enumerate(sizes):
            room = data.draw(st.sampled_from([0, 100, 1000]))
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, limit[1]))
            lines.write({"step": step, "text": "x" * size})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    lines.flush()
    assert [(line["step"], len(line["text"])) for line in read_lines(path)] == list(enumerate(sizes))


def test_a_torn_line_is_ended_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2, "lo')
    JsonLines(path).write({"step": 2, "loss": float("nan")})
    assert list(read_lines(path)) == [{"step": 1}, {"step": 2, "loss": None}]
