"""The configs that users start from."""

from pathlib import Path

import pytest

from seq.config_file import load_config
from seq.reference import reference
from tests.helpers import ROOT


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_configs_load_and_are_named_after_their_file(path: Path) -> None:
    assert load_config(path).run.name == path.stem


def test_the_configuration_reference_is_current() -> None:
    written = (ROOT / "docs" / "configuration.md").read_text()
    assert written == reference(), "run: python -m seq.reference > docs/configuration.md"
