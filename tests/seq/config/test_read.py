from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seq.config import Config
from seq.config.read import dump_config, load_config, parse_config
from seq.errors import UserError


def _load(tmp_path: Path, text: str, *overrides: str) -> Config:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return load_config(path, overrides)


def test_every_fault_at_once_with_path_value_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        _load(
            tmp_path,
            "model: {kind: language_model, hiden_size: 3}\n"
            "train: {steps: ten, precision: fp8}\n"
            "batch: {shards: 0}\n"
            "optimizer: {max_norm: 1.0}\n"
            "optimiser: {lr: 1}\n",
            "optimizer.lr=-1",
            "logging.every_steps=true",
        )
    message = str(raised.value)
    assert message.startswith(f"{tmp_path / 'config.yaml'}: 8 faults")
    for line in (
        "model.hiden_size: unknown key; did you mean model.hidden_size?",
        'train.steps: must be a whole number (got "ten")',
        "train.precision: must be 'fp32', 'tf32', 'bf16' or 'fp16' (got \"fp8\")",
        "batch.shards: must be greater than 0 (got 0)",
        "optimizer.max_norm: unknown key; did you mean train.clip_grad_norm?",
        "optimiser: unknown key; did you mean optimizer?",
        "optimizer.lr: must be greater than 0 (got -1)",
        "logging.every_steps: must be a whole number (got true)",
    ):
        assert f"\n  {line}" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {steps: 1}\ntrain: {epochs: 2}\n", "line 2: key 'train' is given twice"),
        ("train: {steps: 1, steps: 2}\n", "line 1: key 'steps' is given twice"),
        ("- a\n- b\n", "must hold sections such as `train:`, not a list"),
        ("train: [\n", "not valid YAML"),
        ("train: 3\n", "train: must be"),
        ("optimizer: {lr: .nan}\n", "optimizer.lr: must be"),
        ("optimizer: {lr: .inf}\n", "optimizer.lr: must be a finite number"),
        ("model: {kind: transformer}\n", "'classifier', 'language_model'"),
        (
            "model: {kind: language_model, tie_weights: true}\n",
            "tie_weights needs embedding_dim (64) = hidden_size (128)",
        ),
        ("data: &a {files: *a}\n", "is a YAML alias"),
        ("train: {teacher_forcing: 0.5}\n", "train.teacher_forcing is for language models and encoder-decoders only"),
        ("batch: {order: stateful}\n", "batch.order=stateful is for model.kind=language_model"),
        (
            "model: {kind: language_model}\nbatch: {order: stateful}\n",
            "batch.order=stateful reads whole documents: set data.unit=document",
        ),
        (
            "model: {kind: language_model}\nbatch: {order: stateful}\ndata: {unit: document}\n"
            "train: {teacher_forcing: 0.5}\n",
            "train.teacher_forcing below 1 needs batch.order=bucketed",
        ),
    ],
)
def test_faults(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        _load(tmp_path, text)
    assert message in str(raised.value)


@pytest.mark.parametrize("override", ["lr", "=3", "optimizer.lr.x=1", "optimizer.lr=[", "optimizer.lr=2000-01-01"])
def test_bad_overrides(tmp_path: Path, override: str) -> None:
    with pytest.raises(UserError, match=r"override|section|YAML|number"):
        _load(tmp_path, "optimizer: {lr: 1e-3}\n", override)


def test_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "names.yaml").touch()
    with pytest.raises(UserError, match=r"no such config file; did you mean .*names\.yaml"):
        load_config(tmp_path / "nmes.yaml")


def test_yaml_floats_and_precedence(tmp_path: Path) -> None:
    config = _load(tmp_path, "optimizer: {lr: 1e-3, weight_decay: 5E-2}\n", "optimizer.lr=3e-4", "run.name=x")
    assert (config.optimizer.lr, config.optimizer.weight_decay, config.run.name) == (3e-4, 0.05, "x")


@example(lr=1.0, prompts=[], steps=None, name="0E0")
@example(lr=1.0, prompts=["\x85", "\u2028\r\n\ufeff"], steps=None, name="0")
@given(
    lr=st.floats(1e-9, 10),
    prompts=st.lists(st.text(), max_size=3),
    steps=st.none() | st.integers(100, 10**9),
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]*", fullmatch=True),
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, lr: float, prompts: list[str], steps: int | None, name: str
) -> None:
    tree = {
        "optimizer": {"lr": lr},
        "generation": {"prompts": prompts},
        "train": {"steps": steps},
        "run": {"name": name},
    }
    config = parse_config(tree, where="test")
    path = tmp_path_factory.mktemp("round") / "config.yaml"
    path.write_text(dump_config(config), encoding="utf-8")
    assert load_config(path) == config


def test_names_of_earlier_versions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a file, and over a file that has the new name."""
    text = (
        "run: {recipe: auto}\nbatch: {order: stream, window: 32}\ndata: {unit: document}\n"
        "model: {kind: language_model}\ntrain: {clip_grad_norm: 2.0}\n"
    )
    config = _load(tmp_path, text, "train.max_norm=3.0", "checkpoint.best=loss", "optimizer.table_lr=2.0")
    assert (config.run.auto_hyperparameters, config.batch.order, config.batch.bptt) == (True, "stateful", 32)
    assert (config.train.clip_grad_norm, config.checkpoint.monitor) == (3.0, "loss")
    said = capsys.readouterr().err
    assert "run.recipe is now run.auto_hyperparameters" in said
    assert "train.max_norm is now train.clip_grad_norm" in said
    with pytest.raises(UserError, match="which is given too"):
        _load(tmp_path, "train: {max_norm: 1.0, clip_grad_norm: 2.0}\n")
