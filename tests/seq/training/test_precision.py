import pytest
import torch

from seq.config import Config
from seq.config.read import override_config
from seq.errors import UserError
from seq.training import precision
from seq.training.precision import configure_numerics


def test_a_processor_that_imitates_bf16_is_slow(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = override_config(Config(), ["train.precision=bf16"], where="test")
    for imitates in (True, False):
        monkeypatch.setattr(precision, "imitates_bf16", lambda imitates=imitates: imitates)
        configure_numerics(config, torch.device("cpu"))
        assert ("imitates bf16, very slowly" in capsys.readouterr().err) == imitates


def test_arithmetic_that_is_not_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def fix(*words: str, device: str = "cpu") -> None:
        configure_numerics(override_config(Config(), words, where="test"), torch.device(device))

    with pytest.raises(UserError, match="tf32 needs a GPU"):
        fix("train.precision=tf32")
    with pytest.raises(UserError, match="fast_fp32 is for CPUs"):
        fix("train.fast_fp32=true", device="cuda")
    monkeypatch.setattr(precision, "fast_fp32_error", lambda: 4e-3)
    with pytest.raises(UserError, match=r"relative error of 4\.0e-03, above 1e-05"):
        fix("train.fast_fp32=true")
