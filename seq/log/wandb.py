"""Weights & Biases: curves, charts, tables and artifacts; offline by default."""

from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import wandb

from seq.errors import warn
from seq.log.wandb_charts import attention_picture, class_table, confusion_chart, mistakes_table, precision_recall_chart
from seq.log.wandb_run import open_wandb_run
from seq.run.checkpoints import checkpoints_in
from seq.run.environment import describe_environment
from seq.run.json_lines import read_lines
from seq.run.result import chosen_step
from seq.run.run import Run
from seq.tasks import Evaluation, show

COLUMNS = ("step", "label", "prompt", "text", "truth")
"""Columns of the table of samples; `label` and `truth` are empty where a task has none."""
MOST_HISTORY = 10_000
"""Steps of earlier starts that are logged again, evenly chosen: a thousand take a second, and W&B draws 1,500 points of a curve."""
MOST_SAMPLES = 200
"""Maximum number of rows in that table, the newest ones: each evaluation sends it again, and a long run has thousands."""


class WandbSink:
    """One W&B run for one run directory; a resumed run continues it.

    Each start logs the history up to its step `start` again, from `metrics.jsonl`. So an offline run is complete in its
    newest folder, with each step once (of long runs, `MOST_HISTORY` steps), however often it was killed. A server ignores steps that it already has. The same
    is done at the end of a run whose disk was full for a while, because W&B's own file is then damaged.
    """

    def __init__(self, run: Run, mode: str, start: int) -> None:
        """`mode`: `online` or `offline`."""
        self.folder, self.config, self.labels = run.directory.path, run.config, run.corpus.labels
        self.metrics = run.task.metrics
        environment = describe_environment(run.process, run.device)
        self._about = {name: environment[name] for name in ("command", "git_commit", "device", "lockstep", "torch")}
        self._about |= {"world_size": run.process.world_size, "data_fingerprint": run.corpus.fingerprint}
        self._mode, self._bad_steps = mode, 0
        self._open(start)

    def _open(self, start: int) -> None:
        self.run, self._doubtful = open_wandb_run(self.folder, self.config, self._mode), False
        self.run.summary.update(self._about)
        self.run.define_metric("step", hidden=True)
        self.run.define_metric("*", step_metric="step")
        self._best: dict[str, float] = {}
        for step, row in _history(self.folder / "metrics.jsonl", start).items():
            self._log(step, row)
            self._bad_steps = max(self._bad_steps, row.get("train/bad_steps", 0))
        self._samples = _earlier_samples(self.folder / "samples.jsonl", start)

    def event(self, event: str, step: int, values: dict[str, Any]) -> None:
        if event == "train":
            self._log(step, _prefixed(event, values))
        self._doubtful |= event == "checkpoint_failed"
        if event == "corruption":
            self._alert(f"step {step}: {values['where']} computed wrongly")
        if values.get("bad_steps", 0) > self._bad_steps:
            self._bad_steps = values["bad_steps"]
            self._alert(f"{self._bad_steps} step(s) whose loss or gradient was not finite, up to step {step}")

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
        for metric in self.metrics:
            value, key = row.get(f"validation/{metric.name}"), f"best/{metric.name}"
            if value is not None:
                better = max if metric.better == "higher" else min
                self._best[key] = better(self._best.get(key, value), value)

    def evaluation(self, step: int, split: str, result: Evaluation) -> None:
        logged = _prefixed(split, result.figures)
        if result.confusion is not None and result.confusion.is_small:
            logged[f"{split}/confusion"] = confusion_chart(f"{split} confusion", result.confusion, self.labels)
        if result.scores is not None:
            logged[f"{split}/precision_recall"] = precision_recall_chart(
                f"{split} precision and recall", result.scores, self.labels
            )
        if result.classes is not None:
            logged[f"{split}/classes"] = class_table(result.classes, self.labels)
        self._log(step, logged)

    def samples(self, step: int, samples: list[dict[str, Any]]) -> None:
        self._samples = [*self._samples, *(_row({"step": step} | sample) for sample in samples)][-MOST_SAMPLES:]
        table = wandb.Table(columns=list(COLUMNS), data=self._samples)
        pictures = [attention_picture(sample) for sample in samples if "attention" in sample]
        self._log(step, {"samples": table} | ({"attention": pictures} if pictures else {}))

    def close(self, result: dict[str, Any]) -> None:
        """SLURM and terminals signal W&B's service too, so it may end before the run. Then the history is written once
        more."""
        try:
            if self._doubtful:
                self._start_again(result["step"])
            about = ("status", "epoch", "num_parameters", "params_sha256", "padding_fraction", "goodput")
            figures = _prefixed(result["split"], result["eval"]) | self._best
            self.run.summary.update(figures | {name: result[name] for name in about})
            if result["best"]:
                self.run.summary["best_step"] = result["best"]["step"]
            if result["confused"]:
                self._log(result["step"], {f"{result['split']}/mistakes": mistakes_table(result["confused"])})
            self._keep_files(result)
            self._say_that_it_ended(result)
            if self._mode == "online" and self.run.url:  # offline, W&B would print a warning
                (self.folder / "wandb-url").write_text(self.run.url)
            self.run.finish()
        except Exception as error:
            warn(f"W&B: its record of this start is not complete ({error}); metrics.jsonl has everything")

    def _keep_files(self, result: dict[str, Any]) -> None:
        wanted = self.config.logging.artifacts if result["status"] == "finished" else "none"
        for kind, path, step in _artifacts(self.folder, wanted, result):
            about, chosen = {"step": step} | self._about, step == chosen_step(result)
            if chosen:
                about |= {"params_sha256": result["params_sha256"], "split": result["split"]} | result["eval"]
            artifact = wandb.Artifact(f"{self.config.run.name}-{kind}", type=kind, metadata=about)
            artifact.add_dir(str(path)) if path.is_dir() else artifact.add_file(str(path))
            best = ["best"] if result["best"] and chosen else []
            self.run.log_artifact(artifact, aliases=["latest", f"step-{step}", *best])

    def _say_that_it_ended(self, result: dict[str, Any]) -> None:
        figures = "  ".join(f"{name} {show(name, value)}" for name, value in result["eval"].items())
        if result["status"] == "preempted":
            self._alert(f"stopped by {result['stopped_by']} at step {result['step']}; the same command goes on")
        elif self.config.logging.alerts == "all":
            self._alert(f"finished at step {result['step']}: {figures}", level="INFO")

    def _alert(self, text: str, level: Literal["INFO", "WARN"] = "WARN") -> None:
        if self.config.logging.alerts != "none":
            with suppress(Exception):
                self.run.alert(self.config.run.name[:60], text, level=level)

    def _start_again(self, step: int) -> None:
        for end in (self.run.finish, wandb.teardown):
            with suppress(Exception):
                end()
        self._open(step)


def _prefixed(prefix: str, values: dict[str, Any]) -> dict[str, Any]:
    return {f"{prefix}/{name}": value for name, value in values.items()}


def _history(path: Path, start: int) -> dict[int, dict[str, Any]]:
    """Return the lines that earlier starts logged up to step `start`, by step. If a step was done twice, the later line counts."""
    rows: dict[int, dict[str, Any]] = defaultdict(dict)
    for line in read_lines(path, most=MOST_HISTORY):
        values = {name: value for name, value in line.items() if name not in ("event", "step", "split", "wall_seconds")}
        if line["step"] <= start and line["event"] in ("train", "eval"):
            rows[line["step"]] |= _prefixed(line.get("split", line["event"]), values)
    return dict(sorted(rows.items()))


def _earlier_samples(path: Path, start: int) -> list[list[Any]]:
    """Samples of earlier starts, because W&B shows only the newest table."""
    rows = {tuple(_row(line)): None for line in read_lines(path) if line["step"] <= start}
    return [list(row) for row in sorted(rows, key=lambda row: row[0])[-MOST_SAMPLES:]]


def _row(sample: dict[str, Any]) -> list[Any]:
    return [sample.get(column, "") for column in COLUMNS]


def _artifacts(folder: Path, wanted: str, result: dict[str, Any]) -> list[tuple[str, Path, int]]:
    """(type, path, step) of what W&B keeps a copy of. The model exists if the run is finished."""
    model = (folder / "model").is_dir() and wanted != "none"
    newest = checkpoints_in(folder / "checkpoints")[-1:] if wanted == "all" else []
    found = [("model", folder / "model", chosen_step(result))] if model else []
    return found + [("checkpoint", path, int(result["step"])) for path in newest]
