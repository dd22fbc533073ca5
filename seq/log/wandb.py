"""Weights & Biases: curves, charts, tables and artifacts; offline by default."""

import os
import secrets
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

import wandb

from seq.config import Config
from seq.errors import warn
from seq.log.wandb_charts import attention_picture, class_table, confusion_chart, precision_recall_chart
from seq.run.checkpoint import checkpoints_in
from seq.run.json_lines import read_lines
from seq.training.metrics import EVALUATION, Evaluation

ONLINE_TIMEOUT_SECONDS = 10
CURVES = ("train", "judge")
"""Events whose figures are curves over the steps."""
COLUMNS = ("step", "label", "prompt", "text", "truth")
"""Columns of the table of samples; `label` and `truth` are empty where a task has none."""


class WandbSink:
    """One W&B run for one run directory. Its id is kept in `wandb-id`, so that a resumed run continues it.

    Each start logs the history up to its step `start` again, from `metrics.jsonl`. So an offline run is complete in its
    newest folder, with each step once, however often it was killed. A server ignores steps that it already has. The same
    is done at the end of a run whose disk was full for a while, because W&B's own file is then damaged.
    """

    def __init__(self, folder: Path, config: Config, labels: tuple[str, ...], start: int) -> None:
        self.folder, self.config, self.labels = folder, config, labels
        self._open(start)

    def _open(self, start: int) -> None:
        _set_aside(self.folder / "wandb")
        self.run, self._doubtful = _init(self.folder, self.config), False
        self.run.define_metric("step", hidden=True)
        self.run.define_metric("*", step_metric="step")
        self._best: dict[str, float] = {}
        for step, row in _history(self.folder / "metrics.jsonl", start).items():
            self._log(step, row)
        self._samples = _earlier_samples(self.folder / "samples.jsonl", start)

    def event(self, event: str, step: int, values: dict[str, Any]) -> None:
        if event in CURVES:
            self._log(step, _prefixed(event, values))
        self._doubtful |= event == "checkpoint_failed"

    def _log(self, step: int, row: dict[str, Any]) -> None:
        """An error in W&B does not end the run."""
        self._keep_best(row)
        try:
            self.run.log({"step": step} | row, step=step)
        except Exception as error:  # wandb raises its own errors, and those of three libraries below it
            if not self._doubtful:
                warn(f"W&B: {error}; its history is written again at the end of the run")
            self._doubtful = True

    def _keep_best(self, row: dict[str, Any]) -> None:
        """The summary has the best value of every validation figure, as `best/NAME`, by the metric's direction."""
        for metric in EVALUATION:
            value, key = row.get(f"validation/{metric.name}"), f"best/{metric.name}"
            if value is not None:
                better = max if metric.better == "higher" else min
                self._best[key] = better(self._best.get(key, value), value)

    def evaluation(self, step: int, split: str, result: Evaluation) -> None:
        logged = _prefixed(split, result.figures)
        if result.confusion is not None:
            logged[f"{split}/confusion"] = confusion_chart(f"{split} confusion", result.confusion, self.labels)
        if result.scores is not None:
            logged[f"{split}/precision_recall"] = precision_recall_chart(
                f"{split} precision and recall", result.scores, self.labels
            )
        if result.classes is not None:
            logged[f"{split}/classes"] = class_table(result.classes, self.labels)
        self._log(step, logged)

    def samples(self, step: int, samples: list[dict[str, Any]]) -> None:
        self._samples += [_row({"step": step} | sample) for sample in samples]
        table = wandb.Table(columns=list(COLUMNS), data=self._samples)
        pictures = [attention_picture(sample) for sample in samples if "attention" in sample]
        self._log(step, {"samples": table} | ({"attention": pictures} if pictures else {}))

    def close(self, result: dict[str, Any]) -> None:
        """SLURM and terminals signal W&B's service too, so it may end before the run. Then the history is written once
        more."""
        try:
            if self._doubtful:
                self._start_again(result["step"])
            about = ("status", "params_sha256", "padding_fraction", "goodput")
            figures = _prefixed(result["split"], result["eval"]) | self._best
            self.run.summary.update(figures | {name: result[name] for name in about})
            if result["best"]:
                self.run.summary["best_step"] = result["best"]["step"]
            wanted = self.config.logging.artifacts if result["status"] == "finished" else "none"
            for kind, path in _artifacts(self.folder, wanted):
                artifact = wandb.Artifact(f"{self.config.run.name}-{kind}", type=kind)
                artifact.add_dir(str(path)) if path.is_dir() else artifact.add_file(str(path))
                self.run.log_artifact(artifact)
            self.run.finish()
        except Exception as error:
            warn(f"W&B: its record of this start is not complete ({error}); metrics.jsonl has everything")

    def _start_again(self, step: int) -> None:
        for end in (self.run.finish, wandb.teardown):
            with suppress(Exception):
                end()
        self._open(step)


def _prefixed(prefix: str, values: dict[str, Any]) -> dict[str, Any]:
    return {f"{prefix}/{name}": value for name, value in values.items()}


def _history(path: Path, start: int) -> dict[int, dict[str, Any]]:
    """What earlier starts logged up to step `start`, by step. Of a step done twice, the later line counts."""
    rows: dict[int, dict[str, Any]] = defaultdict(dict)
    for line in read_lines(path):
        values = {name: value for name, value in line.items() if name not in ("event", "step", "split", "wall_seconds")}
        if line["step"] <= start and line["event"] in (*CURVES, "eval"):
            rows[line["step"]] |= _prefixed(line.get("split", line["event"]), values)
    return dict(sorted(rows.items()))


def _earlier_samples(path: Path, start: int) -> list[list[Any]]:
    """Samples of earlier starts, because W&B shows only the newest table."""
    lines = [line for line in read_lines(path) if line["step"] <= start]
    rows = {tuple(_row(line)): None for line in lines}
    return [list(row) for row in sorted(rows, key=lambda row: row[0])]


def _row(sample: dict[str, Any]) -> list[Any]:
    return [sample.get(column, "") for column in COLUMNS]


def _set_aside(folder: Path) -> None:
    """Rename offline folders of earlier starts, so that `wandb sync` finds only the newest, which has their history too."""
    for earlier in folder.glob("offline-run-*"):
        earlier.rename(folder / f"superseded-{earlier.name}")


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
        init_timeout=ONLINE_TIMEOUT_SECONDS,
        finish_timeout=config.run.timeout_seconds / 2,  # the watchdog ends a run that takes longer
        login_timeout=ONLINE_TIMEOUT_SECONDS,
        x_transaction_log_flush_interval=1.0,  # a killed run loses what was not flushed; the default is 15 s
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
    """Kept with the run; the id that a sweep's agent gives, if there is one."""
    file = folder / "wandb-id"
    if not file.exists():
        file.write_text(os.environ.get("WANDB_RUN_ID") or secrets.token_hex(4))
    return file.read_text().strip()


def _artifacts(folder: Path, wanted: str) -> list[tuple[str, Path]]:
    """(type, path) of what W&B keeps a copy of. The model exists if the run is finished."""
    model = [("model", folder / "model")] if wanted != "none" and (folder / "model").is_dir() else []
    newest = checkpoints_in(folder / "checkpoints")[-1:] if wanted == "all" else []
    return model + [("checkpoint", path) for path in newest]
