from pathlib import Path

import pytest

from tests.helpers import run

pytestmark = pytest.mark.slow


def test_programs_refuse_in_one_line(names: Path, speeches: Path, tmp_path: Path) -> None:
    for command, message in (
        (("predict", tmp_path, "x"), "no run with a checkpoint"),
        (("predict", speeches, "x"), "is a language model; use python -m seq.generate"),
        (("generate", names), "is a classifier; use python -m seq.predict"),
        (("generate", speeches, "--label", "x"), "label 'x': the model was not trained by label"),
        (("generate", speeches, "--prime-file", "none.txt"), "--prime-file none.txt: cannot be read"),
        (("generate", speeches, "--top-p", "2"), "generation.top_p: must be less than or equal to 1"),
        (("generate", speeches, "--num", "0"), "--num 0: must be at least 1"),
        (("evaluate", names, "--checkpoint", "step-9.pt"), "no checkpoint step-9.pt; it has step-00000008.pt"),
        (("evaluate", names, "data.sauce=x"), "data.sauce: unknown key; did you mean data.source?"),
    ):
        done = run("python", "-m", f"seq.{command[0]}", *command[1:])
        assert done.returncode == 2
        assert message in done.stderr
        assert "Traceback" not in done.stderr
