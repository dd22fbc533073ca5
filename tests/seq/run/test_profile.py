import json
from pathlib import Path

import pytest

from tests.helpers import run_many
from tests.runs import result, words

pytestmark = [pytest.mark.slow, pytest.mark.extended]


def test_a_trace_of_some_steps_changes_nothing(tmp_path: Path) -> None:
    """Also of steps at the end; and a result says how long each process waited."""
    cases = {"plain": "null", "middle": "[3,4]", "end": "[11,99]"}
    run_many(
        2, [(None, words(tmp_path, "names", f"run.name={name}", f"run.profile={own}")) for name, own in cases.items()]
    )
    found = {name: result(tmp_path / name) for name in cases}
    assert len({each["params_sha256"] for each in found.values()}) == 1
    for name, steps in (("middle", 2), ("end", 2)):
        events = json.loads((tmp_path / name / "profile.json").read_text())["traceEvents"]
        updates = [event for event in events if str(event.get("name", "")).startswith("Optimizer.step")]
        assert len(updates) == steps
    assert not (tmp_path / "plain" / "profile.json").exists()
    for each in found.values():
        assert 0 < each["floor_share"] < 1
        assert len(each["waiting_seconds"]) == 2
