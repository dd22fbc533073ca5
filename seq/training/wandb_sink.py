"""Weights & Biases: metrics, confusion matrix and samples; offline unless asked otherwise."""

import json
import secrets
from pathlib import Path
from typing import Any

import wandb

from seq.config import Config
from seq.training.metrics import Evaluation

ONLINE_TIMEOUT_SECONDS = 10


class WandbSink:
    """One W&B run for one run directory: its id is kept in `wandb-id`, so that a resumed run goes on in it."""

    def __init__(self, folder: Path, config: Config, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self.run = _init(folder, config)
        self.run.define_metric("step", hidden=True)
        self.run.define_metric("*", step_metric="step")
        self._samples = _earlier_samples(folder / "samples.jsonl")

    def event(self, event: str, step: int, values: dict[str, Any]) -> None:
        if event == "train":
            self.run.log({"step": step} | {f"train/{name}": value for name, value in values.items()})

    def evaluation(self, step: int, split: str, result: Evaluation) -> None:
        logged: dict[str, Any] = {f"{split}/{name}": value for name, value in result.figures.items()}
        if result.confusion is not None:
            cells = [
                [self.labels[true], self.labels[predicted], int(count)] for (true, predicted), count in _cells(result)
            ]
            logged[f"{split}/confusion"] = wandb.Table(columns=["true", "predicted", "count"], data=cells)
        self.run.log({"step": step} | logged)

    def samples(self, step: int, samples: list[dict[str, Any]]) -> None:
        self._samples += [[step, sample["prompt"], sample["text"]] for sample in samples]
        table = wandb.Table(columns=["step", "prompt", "text"], data=self._samples)
        self.run.log({"step": step, "samples": table})

    def digests(self, step: int, digests: dict[str, str]) -> None:
        """Not shown."""

    def close(self, result: dict[str, Any]) -> None:
        summary = {f"{result['split']}/{name}": value for name, value in result["eval"].items()}
        self.run.summary.update(summary | {name: result[name] for name in ("params_sha256", "padding_fraction")})
        self.run.finish()


def _earlier_samples(path: Path) -> list[list[Any]]:
    """What earlier starts of the run wrote: W&B shows the newest table only."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return [[sample["step"], sample["prompt"], sample["text"]] for sample in map(json.loads, lines)]


def _cells(result: Evaluation) -> list[tuple[tuple[int, ...], int]]:
    """The filled cells only: a thousand classes have a million."""
    assert result.confusion is not None
    filled = zip(*result.confusion.nonzero(), strict=True)
    return [((int(row), int(column)), int(result.confusion[row, column])) for row, column in filled]


def _init(folder: Path, config: Config) -> Any:
    mode = config.logging.wandb
    if mode == "online":
        try:
            return _start("online", folder, config)
        except Exception as error:  # wandb raises its own errors, and those of three libraries below it
            reason = " ".join(str(error).split())[:160]
            print(f"W&B cannot be reached ({reason}); the run goes on with logging.wandb=offline", flush=True)
            wandb.teardown()
    return _start("offline", folder, config)


def _start(mode: Any, folder: Path, config: Config) -> Any:
    settings = wandb.Settings(
        console="off",
        silent=True,
        x_disable_stats=True,
        init_timeout=ONLINE_TIMEOUT_SECONDS,
        login_timeout=ONLINE_TIMEOUT_SECONDS,
        x_transaction_log_flush_interval=1.0,  # the default, 15 s, is what a killed run would lose
    )
    return wandb.init(
        mode=mode,
        dir=folder,
        project=config.logging.project,
        name=config.run.name,
        id=_run_id(folder),
        resume="allow",
        config=config.model_dump(mode="json"),
        settings=settings,
    )


def _run_id(folder: Path) -> str:
    file = folder / "wandb-id"
    if not file.exists():
        file.write_text(secrets.token_hex(4))
    return file.read_text().strip()
