import pytest

from seq.config import Config, OptimizerConfig
from seq.config.section import describe_keys


def test_every_key_has_a_meaning() -> None:
    keys = describe_keys(Config)
    assert len(keys) > 50
    assert [key for key, _, meaning in keys if not meaning and not key.startswith("data.files")] == []


def test_sections_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        OptimizerConfig().lr = 1.0  # type: ignore[misc]
