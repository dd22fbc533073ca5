"""What rank 0 says about the run: to the terminal, to metrics.jsonl and to Weights & Biases."""

import json
import math
from pathlib import Path
from typing import Any, Protocol

from seq.config import Config
from seq.data.corpus import Corpus
from seq.training.console import ConsoleSink
from seq.training.metrics import Evaluation


class Sink(Protocol):
    def event(self, event: str, step: int, values: dict[str, Any]) -> None: ...
    def evaluation(self, step: int, split: str, result: Evaluation) -> None: ...
    def samples(self, step: int, samples: list[dict[str, Any]]) -> None: ...
    def digests(self, step: int, digests: dict[str, str]) -> None: ...
    def close(self, result: dict[str, Any]) -> None: ...


class Logger:
    """Hands everything to its sinks. A rank other than 0 has none, and needs no `if`."""

    def __init__(self, sinks: list[Sink]) -> None:
        self.sinks = sinks

    def event(self, event: str, step: int, **values: Any) -> None:
        """One of start, resume, train, checkpoint, stop, finish."""
        for sink in self.sinks:
            sink.event(event, step, values)

    def evaluation(self, step: int, split: str, result: Evaluation) -> None:
        for sink in self.sinks:
            sink.evaluation(step, split, result)

    def samples(self, step: int, samples: list[dict[str, Any]]) -> None:
        for sink in self.sinks:
            sink.samples(step, samples)

    def digests(self, step: int, digests: dict[str, str]) -> None:
        """Of the gradients of one step, by parameter."""
        for sink in self.sinks:
            sink.digests(step, digests)

    def close(self, result: dict[str, Any]) -> None:
        """`result`: the run's final figures."""
        for sink in self.sinks:
            sink.close(result)


class MetricsFile:
    """`metrics.jsonl`, one object a line, flushed line by line; `samples.jsonl`, and `digests.jsonl`."""

    def __init__(self, folder: Path) -> None:
        self._metrics = (folder / "metrics.jsonl").open("a", encoding="utf-8")
        if self._metrics.tell() and not (folder / "metrics.jsonl").read_bytes().endswith(b"\n"):
            print(file=self._metrics)  # a kill tore the last line
        self._samples_path = folder / "samples.jsonl"
        self._digests_path = folder / "digests.jsonl"

    def event(self, event: str, step: int, values: dict[str, Any]) -> None:
        finite = {name: None if _not_finite(value) else value for name, value in values.items()}
        print(json.dumps({"event": event, "step": step} | finite), file=self._metrics, flush=True)

    def evaluation(self, step: int, split: str, result: Evaluation) -> None:
        self.event("eval", step, {"split": split} | result.figures)

    def samples(self, step: int, samples: list[dict[str, Any]]) -> None:
        with self._samples_path.open("a", encoding="utf-8") as file:
            for sample in samples:
                self.event("sample", step, sample)
                print(json.dumps({"step": step} | sample), file=file)

    def digests(self, step: int, digests: dict[str, str]) -> None:
        with self._digests_path.open("a", encoding="utf-8") as file:
            print(json.dumps({"step": step, "gradients": digests}), file=file)

    def close(self, result: dict[str, Any]) -> None:
        self._metrics.close()


def _not_finite(value: Any) -> bool:
    """JSON has no NaN; fp16's first steps overflow as a rule."""
    return isinstance(value, float) and not math.isfinite(value)


def open_logger(folder: Path, config: Config, corpus: Corpus, total_steps: int, *, is_main: bool) -> Logger:
    """The sinks that `logging` asks for, on rank 0."""
    if not is_main:
        return Logger([])
    sinks: list[Sink] = [MetricsFile(folder), ConsoleSink(total_steps)]
    for note in corpus.notes:
        print(f"data: {note}", flush=True)
    if config.logging.wandb != "disabled":
        from seq.training.wandb_sink import WandbSink  # its import takes a while, and only rank 0 needs it

        sinks.append(WandbSink(folder, config, corpus.labels))
    return Logger(sinks)
