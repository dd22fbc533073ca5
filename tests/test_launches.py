"""Every launch in the documentation has a config with enough shards for its processes."""

import re
import shlex
from pathlib import Path

import pytest

from seq.command_line import check_world_size, config_and_overrides
from seq.config.own_code import KEYS
from seq.config.read import load_config
from tests.helpers import ROOT

PLACES = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("slurm/*.sbatch"), *ROOT.glob("configs/*.yaml")]


def launches(path: Path) -> list[list[str]]:
    """The lines that start training, as words."""
    found = []
    for line in path.read_text().splitlines():
        line = re.sub(r"^#\s*(- exec )?|^\s*- exec ", "", line.partition("  #")[0].strip())
        if re.match(r"(torchrun|sbatch|srun|python) .*(train_ddp\.py|\.sbatch|seq\.submit)\b", line):
            found.append(shlex.split(line))
    return found


LAUNCHES = [(path.name, words) for path in PLACES for words in launches(path)]


def number(words: list[str], *names: str) -> int:
    """The value of the first option that is there, else 1. Of a range such as `1:2`, the larger one."""
    for place, word in enumerate(words):
        name, _, value = word.lstrip("-").replace("_", "-").partition("=")
        if word.startswith("-") and name in names:
            return int((value or words[place + 1]).rpartition(":")[2])
    return 1


@pytest.mark.parametrize(("place", "words"), LAUNCHES, ids=[f"{name} {' '.join(words)}" for name, words in LAUNCHES])
def test_it_has_enough_shards(place: str, words: list[str]) -> None:
    hosts = number(words, "nodes", "nnodes")
    processes = hosts * number(words, "nproc-per-node", "gpus-per-node", "ntasks", "ntasks-per-node")
    settings = [word for word in words if "=" in word and not word.startswith(("-", *KEYS)) and "$" not in word]
    configs = [word for word in words if word.startswith("configs/")]
    path, overrides = config_and_overrides([*configs, *settings])
    check_world_size(processes, load_config(ROOT / path, overrides).batch.shards)


def test_they_are_found() -> None:
    assert len(LAUNCHES) >= 15
    assert any(number(words, "nnodes", "nodes") == 2 for _, words in LAUNCHES)
