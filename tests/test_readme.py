"""The README's commands, one after another, as a reader would type them: real, but cut short."""

import re
import shlex
from pathlib import Path

import pytest

from tests.helpers import ROOT, run

pytestmark = pytest.mark.slow

README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.partition("  #")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]
NOT_RUN = {
    "make": "the tests themselves run in what make made; CI runs `make check` and `make test`",
    "srun": "needs SLURM: tests/test_train_ddp.py starts tasks as srun does",
    "sbatch": "needs SLURM: tests/slurm",
    "wandb": "needs an account",
    ".venv/bin/python": "the same command is below, for the environment of the tests",
}
SHORT = ("train.steps=6", "logging.every_steps=2", "model.hidden_size=16", "generation.length=10")


def test_every_command_works(tmp_path: Path) -> None:
    for name in ("train_ddp.py", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    rows = (f"Sloan{end},Irish,a;b,1.5\nAdylov{end},Russian,,2\n" for end in "abcdefghijklmnopqrst")
    (tmp_path / "rows.csv").write_text("name,origin,topics,price\n" + "".join(rows))
    (tmp_path / "tagged.txt").write_text("EU B\nrejects O\n\nPeter B\n\n" * 20)
    (tmp_path / "books").mkdir()
    for name in ("a", "b"):
        (tmp_path / "books" / f"{name}.txt").write_text("It was a dark and stormy night.\n\n" * 30)
    ran = 0
    for command in COMMANDS:
        if shlex.split(command)[0] in NOT_RUN:
            continue
        trains = "train_ddp.py" in command and "--help" not in command
        short = " ".join(SHORT) if trains else ""
        if "seq.doctor" in command:
            short = "batch.shards=2 data.source=csv data.files.train=rows.csv data.text=name data.label=origin model.hidden_size=8"
        command = command.replace("--step 3360", "--step 6")
        if "|" in command:
            done = run("bash", "-c", f"set -o pipefail; {command} {short}", cwd=tmp_path, timeout=200)
        else:
            done = run(*shlex.split(f"{command} {short}"), cwd=tmp_path, timeout=200, forked=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        assert done.stdout
        ran += 1
    assert ran >= 20
    for snippet in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL):
        done = run("python", "-c", snippet, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
        assert done.returncode == 0, done.stderr
        assert done.stdout


def test_make_targets_exist() -> None:
    targets = {command.split()[1] for command in COMMANDS if command.startswith("make ")}
    assert {"train", "test", "check"} <= targets
    for target in targets:
        assert f"\n{target}:" in (ROOT / "Makefile").read_text()
