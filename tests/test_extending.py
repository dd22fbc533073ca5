"""docs/extending.md: each of its diffs applies, and the extended code trains."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers import ROOT, run
from tests.runs import TINY, result

pytestmark = [pytest.mark.slow, pytest.mark.extended]

DIFFS = re.findall(r"```diff\n(.*?)```", (ROOT / "docs" / "extending.md").read_text(), flags=re.DOTALL)
RATED = "data.source=csv data.files.train=rated.csv data.label=stars batch.rows=4"
WORDS = {
    "model": ["model.pooling=mean"],
    "task": ["model.target=count", *RATED.split()],
    "data": ["data.source=functions", "data.max_length=64", "model.ngrams=2"],
}


@pytest.mark.parametrize("what", WORDS)
def test_it_applies_and_trains(what: str, tmp_path: Path) -> None:
    diff = DIFFS[list(WORDS).index(what)]
    changed = [line for line in diff.splitlines() if line[0] in "+-" and not line.startswith(("+++", "---"))]
    assert len(changed) <= (40 if what == "task" else 30)
    for name in ("launch", "seq", "configs", "train_ddp.py"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    subprocess.run(["patch", "-p1"], cwd=tmp_path, input=diff, text=True, check=True)
    (tmp_path / "rated.csv").write_text(
        "text,stars\n" + "".join(f"{'so ' * (n % 5)}good {n},{n % 5 + 1}\n" for n in range(90))
    )
    settings = [*TINY, "model.ngram_buckets=64", "logging.wandb=disabled", "run.name=extended", "train.steps=5"]
    done = run("python", "train_ddp.py", *settings, *WORDS[what], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = result(tmp_path / "runs" / "extended")
    assert found["step"] == 5
    if what == "task":
        assert set(found["eval"]) == {"loss", "mae"}
        assert 0 < found["eval"]["mae"] < 5
        used = run("python", "-m", "seq.predict", "runs/extended", "so good", cwd=tmp_path)
        assert float(used.stdout.split("\t")[1]) > 0, used.stderr
    if what == "data":
        assert found["labels"][0] == "torch.fft"
