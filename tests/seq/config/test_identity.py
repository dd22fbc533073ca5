from seq.config import Config
from seq.config.identity import identity
from seq.config.read import override_config


def test_identity_leaves_out_what_cannot_change_the_parameters() -> None:
    base = Config()
    same = override_config(base, ["run.name=b", "logging.every_steps=1", "generation.length=3"], where="test")
    other = override_config(base, ["run.seed=2"], where="test")
    assert identity(base) == identity(same)
    assert identity(base) != identity(other)
