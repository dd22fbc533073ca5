"""The commands of README and guide: all can be parsed, and run one after another as a reader would type them, cut short."""

import argparse
import importlib
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from seq.command_line import config_from
from tests.helpers import ROOT, run

README = "".join((ROOT / name).read_text() for name in ("README.md", "docs/guide.md"))
COMMANDS = [
    re.split(r"\s# ", line)[0].strip()
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
SHORT = (
    "train.steps=6",
    "logging.every_steps=2",
    "model.hidden_size=16",
    "model.embedding_dim=16",
    "generation.length=10",
)


class _ParsedError(Exception):
    pass


def _parsed(words: list[str], monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace | None:
    """What the program of a command makes of its words; None if the command is not one of ours."""
    if "train_ddp.py" in words:
        module, arguments = "train_ddp", words[words.index("train_ddp.py") + 1 :]
    elif "-m" in words and words[words.index("-m") + 1].startswith("seq."):
        place = words.index("-m") + 1
        module, arguments = words[place], words[place + 1 :]
    else:
        return None
    found: list[argparse.Namespace] = []
    passes_on = module == "seq.submit"  # what it does not know, to sbatch
    for name in ("parse_known_intermixed_args",) if passes_on else ("parse_args", "parse_intermixed_args"):
        own = getattr(argparse.ArgumentParser, name)

        def parse(self: Any, *given: Any, own: Any = own) -> None:
            options = own(self, *given)
            found.append(options[0] if passes_on else options)
            raise _ParsedError

        monkeypatch.setattr(argparse.ArgumentParser, name, parse)
    program = importlib.import_module("seq.report.__main__" if module == "seq.report" else module)
    with pytest.raises((_ParsedError, SystemExit) if "--help" in words else _ParsedError):
        program.main(arguments)
    return found[0] if found else None


def test_every_command_can_be_parsed() -> None:
    parsed = 0
    for command in COMMANDS:
        for part in command.split(" | "):
            with pytest.MonkeyPatch.context() as monkeypatch:
                options = _parsed(shlex.split(part), monkeypatch)
            parsed += options is not None
            if options is not None and hasattr(options, "words"):
                config_from(options.words)
    assert parsed >= 35


@pytest.mark.slow
@pytest.mark.extended
def test_every_command_works(tmp_path: Path) -> None:
    for name in ("train_ddp.py", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    rows = (f"Sloan{end},Irish,a;b,1.5\nAdylov{end},Russian,,2\n" for end in "abcdefghijklmnopqrst")
    (tmp_path / "rows.csv").write_text("name,origin,topics,price\n" + "".join(rows))
    (tmp_path / "tagged.txt").write_text("".join(f"EU B\nrejects O\n{n} O\n\nPeter B\n\n" for n in range(20)))
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
        command = command.replace("--step 3380", "--step 6")
        if "--against" in command:
            shutil.copytree(tmp_path / "runs" / "names", tmp_path / "runs" / "other")
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
    text = README + (ROOT / "CONTRIBUTING.md").read_text()
    targets = set(re.findall(r"\bmake ([a-z-]+) +#", text)) | {"train"}
    assert {"train", "smoke", "check", "test", "test-all"} <= targets
    for target in targets:
        assert f"\n{target}:" in (ROOT / "Makefile").read_text()
