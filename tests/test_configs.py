"""The configs that users start from, and the README's commands."""

import re
import shlex
from pathlib import Path

import pytest

from seq.command_line import config_and_overrides
from seq.config_file import load_config
from tests.helpers import ROOT

README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.partition("  #")[0].strip()
    for block in re.findall(r"```(?:bash|sh)\n(.*?)```", README, flags=re.DOTALL)
    for line in block.splitlines()
    if line.strip() and not line.startswith("#")
]
TESTED = {
    "make": "the tests run in what make made",
    "torchrun": "tests/test_train_ddp.py",
    "srun": "tests/test_train_ddp.py",
    "python": "tests/seq/test_programs.py",
    "wandb": "wandb's own program",
    "git": "git's own program",
    "cd": "",
}


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_configs_load_and_are_named_after_their_file(path: Path) -> None:
    assert load_config(path).run.name == path.stem


@pytest.mark.parametrize("command", COMMANDS)
def test_readme_commands_exist(command: str) -> None:
    """Each is a program that the tests run; configs and overrides in it are valid."""
    program, *rest = shlex.split(command.removeprefix("echo").split("|")[-1])
    assert program in TESTED
    if program == "make":
        assert f"\n{rest[0]}:" in (ROOT / "Makefile").read_text()
    if "-m" in rest and program == "python":
        assert (ROOT / (rest[rest.index("-m") + 1].replace(".", "/") + ".py")).is_file()
    if "train_ddp.py" in rest:
        words = [word for word in rest[rest.index("train_ddp.py") + 1 :] if not word.startswith("-")]
        path, overrides = config_and_overrides(words)
        load_config(ROOT / path, overrides)
