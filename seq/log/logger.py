"""The logger: rank 0 writes to the terminal and to metrics.jsonl, and to W&B and TensorBoard if asked for."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from seq.config import Config
from seq.log.console import ConsoleSink, print_result
from seq.run.directory import RunDirectory
from seq.run.json_lines import JsonLines
from seq.run.ledger import Ledger
from seq.run.run import Run
from seq.tasks import Evaluation

WANDB_MODES = {"online": "online", "run": "online", "shared": "online", "disabled": "disabled"}
"""Values of the variable WANDB_MODE; anything else, such as its older `dryrun`, means offline."""


class Sink(Protocol):
    """Somewhere that the run is reported to."""

    def event(self, event: str, step: int, values: dict[str, Any]) -> None: ...
    def evaluation(self, step: int, split: str, result: Evaluation) -> None: ...
    def samples(self, step: int, samples: list[dict[str, Any]]) -> None: ...
    def close(self, result: dict[str, Any]) -> None: ...


class Logger:
    """Passes everything to its sinks. On ranks other than 0 there are none, so callers need no `if`."""

    def __init__(
        self, sinks: Sequence[Sink], console: ConsoleSink | None = None, digests: JsonLines | None = None
    ) -> None:
        self.sinks, self._console, self._digests = sinks, console, digests

    def event(self, event: str, step: int, **values: Any) -> None:
        """One of start, resume, train, checkpoint, checkpoint_failed, corruption, stop, finish."""
        for sink in self.sinks:
            sink.event(event, step, values)

    def evaluation(self, step: int, split: str, result: Evaluation) -> None:
        for sink in self.sinks:
            sink.evaluation(step, split, result)

    def samples(self, step: int, samples: list[dict[str, Any]]) -> None:
        for sink in self.sinks if samples else ():
            sink.samples(step, samples)

    def digests(self, step: int, digests: dict[str, str] | None) -> None:
        """Digests of the gradients of one step, by parameter, to `digests.jsonl`; None: `logging.digests` is off."""
        if self._digests is not None and digests is not None:
            self._digests.write({"step": step, "gradients": digests})

    def close(self, result: dict[str, Any]) -> None:
        """`result`: the run's final figures."""
        for sink in self.sinks:
            sink.close(result)
        if self._digests is not None:
            self._digests.flush()

    def show_result(self, result: dict[str, Any]) -> None:
        """Print the final figures, once everything is written."""
        if self._console is not None:
            self._console.show_result(result)


class MetricsFile:
    """`metrics.jsonl` and `samples.jsonl`. A resumed run writes a `resume` line, and then repeats the steps after its checkpoint. If a
    step has two lines, they are equal, and the later one is used."""

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self._ledger = ledger
        self._metrics, self._samples = JsonLines(folder / "metrics.jsonl"), JsonLines(folder / "samples.jsonl")

    def event(self, event: str, step: int, values: dict[str, Any]) -> None:
        self._metrics.write({"event": event, "step": step} | values | {"wall_seconds": round(self._ledger.wall(), 3)})

    def evaluation(self, step: int, split: str, result: Evaluation) -> None:
        self.event("eval", step, {"split": split} | result.figures)

    def samples(self, step: int, samples: list[dict[str, Any]]) -> None:
        for sample in samples:
            self.event("sample", step, {name: value for name, value in sample.items() if name != "attention"})
            self._samples.write({"step": step} | sample)

    def close(self, result: dict[str, Any]) -> None:
        self._metrics.flush()
        self._samples.flush()


def open_logger(run: Run, start: int, total_steps: int) -> Logger:
    """Open the sinks that `logging` asks for, on rank 0, for a run that begins after step `start`. Prints the notes about the
    data first."""
    if not run.is_main:
        return Logger([])
    for note in run.corpus.notes:
        print(f"data: {note}", flush=True)
    folder, logging = run.directory.path, run.config.logging
    console = ConsoleSink(folder, total_steps)
    sinks: list[Sink] = [MetricsFile(folder, run.ledger), console]
    mode = logging.wandb or WANDB_MODES.get(os.environ.get("WANDB_MODE", "offline").lower(), "offline")
    if mode != "disabled":
        os.environ["WANDB_MODE"] = mode  # in the case and with the names that W&B knows
        from seq.log.wandb import WandbSink  # its import takes a while, and only rank 0 needs it

        sinks.append(WandbSink(run, mode, start))
    if logging.tensorboard:
        from seq.log.tensorboard import TensorBoardSink

        sinks.append(TensorBoardSink(folder, start))
    return Logger(sinks, console, JsonLines(folder / "digests.jsonl") if logging.digests else None)


def check_packages(config: Config) -> None:
    """UserError if a package that `logging` needs is missing."""
    if config.logging.tensorboard:
        from seq.log.tensorboard import require_tensorboard

        require_tensorboard()


def say_if_finished(directory: RunDirectory, is_main: bool) -> bool:
    """True if the run has finished before; then rank 0 prints its result."""
    result = directory.read_result()
    if result is None or result["status"] != "finished":
        return False
    if is_main:
        print_result(directory.path, result, already=True)
    return True
