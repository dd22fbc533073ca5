"""The configs that users start from."""

from pathlib import Path

import pytest
import yaml

from seq.config import Config
from seq.config.read import load_config
from seq.config.section import describe_keys
from seq.reference import reference
from tests.helpers import ROOT, run
from tests.runs import TINY, result
from tests.wandb_file import wandb_history

SWEEP = ROOT / "configs" / "sweep.yaml"
CONFIGS = sorted(path for path in SWEEP.parent.glob("*.yaml") if path != SWEEP)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_configs_load_and_are_named_after_their_file(path: Path) -> None:
    assert load_config(path).run.name == path.stem


def test_the_configuration_reference_is_current() -> None:
    written = (ROOT / "docs" / "configuration.md").read_text()
    assert written == reference(), "run: python -m seq.reference > docs/configuration.md"


def test_the_sweep_tries_known_keys() -> None:
    sweep = yaml.safe_load(SWEEP.read_text())
    assert set(sweep["parameters"]) <= {key for key, _, _ in describe_keys(Config)}


@pytest.mark.slow
def test_the_sweep_looks_at_a_metric_that_runs_log(names: Path) -> None:
    metric = yaml.safe_load(SWEEP.read_text())["metric"]["name"]
    assert any(metric in row for row in wandb_history(names))


@pytest.mark.slow
@pytest.mark.extended
def test_a_trial_of_the_sweep_runs_as_the_agent_starts_it(tmp_path: Path) -> None:
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    chosen = {"optimizer.lr": {"value": 1e-3}, "model.output_dropout": {"value": 0.1}}
    words = create_sweep_command_args({"args": chosen})["args_no_hyphens"]
    command = create_sweep_command(yaml.safe_load(SWEEP.read_text())["command"])
    place = command.index("${args_no_hyphens}")
    tiny = [*TINY, f"run.output_dir={tmp_path}", "logging.wandb=disabled", "model.ngram_buckets=64"]
    done = run(*command[:place], *words, *tiny, env={"WANDB_RUN_ID": "abc123"})
    assert done.returncode == 0, done.stderr
    assert result(tmp_path / "sweep-abc123")["world_size"] == 2
    assert load_config(tmp_path / "sweep-abc123" / "config.yaml").optimizer.lr == 1e-3
