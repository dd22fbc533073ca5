"""Lines survive a full disk and a kill."""

import resource
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seq.run.json_lines import JsonLines, last_lines, read_lines


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


@given(number=st.integers(0, 40), most=st.integers(1, 50))
def test_of_many_lines_few_are_read(tmp_path_factory: pytest.TempPathFactory, number: int, most: int) -> None:
    """Evenly, with the last one; evaluations are all there."""
    path = tmp_path_factory.mktemp("lines") / "lines.jsonl"
    lines = JsonLines(path)
    for step in range(number):
        lines.write({"event": "train", "step": step})
        lines.write({"event": "eval", "step": step})
    read = list(read_lines(path, most=most))
    train = [line["step"] for line in read if line["event"] == "train"]
    assert [line["step"] for line in read if line["event"] == "eval"] == list(range(number))
    assert len(train) <= most
    assert train[-1:] == list(range(number))[-1:]
    assert len({later - earlier for earlier, later in pairwise(train)}) <= 1
    assert list(last_lines(path)) == list(read_lines(path))
