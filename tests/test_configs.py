"""The configs that users start from."""

from pathlib import Path

import pytest

from seq.config_file import load_config
from tests.helpers import ROOT


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_configs_load_and_are_named_after_their_file(path: Path) -> None:
    assert load_config(path).run.name == path.stem
