"""What rank 0 says about the run: to the terminal, to metrics.jsonl and to Weights & Biases."""

from pathlib import Path
from typing import Any, Protocol

from seq.config import Config
from seq.data.corpus import Corpus
from seq.training.console import ConsoleSink
from seq.training.json_lines import JsonLines
from seq.training.ledger import Ledger
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
        """One of start, resume, train, judge, checkpoint, checkpoint_failed, stop, finish."""
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
    """`metrics.jsonl`, `samples.jsonl` and `digests.jsonl`. A resumed run does the steps after its checkpoint again,
    and writes them again, after a `resume` line: of two lines about a step, the later counts, and they are equal."""

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self._ledger = ledger
        self._metrics, self._samples = JsonLines(folder / "metrics.jsonl"), JsonLines(folder / "samples.jsonl")
        self._digests = JsonLines(folder / "digests.jsonl")

    def event(self, event: str, step: int, values: dict[str, Any]) -> None:
        self._metrics.write({"event": event, "step": step} | values | {"wall_seconds": round(self._ledger.wall(), 3)})

    def evaluation(self, step: int, split: str, result: Evaluation) -> None:
        self.event("eval", step, {"split": split} | result.figures)

    def samples(self, step: int, samples: list[dict[str, Any]]) -> None:
        for sample in samples:
            self.event("sample", step, sample)
            self._samples.write({"step": step} | sample)

    def digests(self, step: int, digests: dict[str, str]) -> None:
        self._digests.write({"step": step, "gradients": digests})

    def close(self, result: dict[str, Any]) -> None:
        for file in (self._metrics, self._samples, self._digests):
            file.flush()


def open_logger(
    folder: Path, config: Config, corpus: Corpus, ledger: Ledger, start: int, total_steps: int, is_main: bool
) -> Logger:
    """The sinks that `logging` asks for, on rank 0, of a run that begins after step `start`."""
    if not is_main:
        return Logger([])
    sinks: list[Sink] = [MetricsFile(folder, ledger), ConsoleSink(total_steps)]
    for note in corpus.notes:
        print(f"data: {note}", flush=True)
    if config.logging.wandb != "disabled":
        from seq.training.wandb_sink import WandbSink  # its import takes a while, and only rank 0 needs it

        sinks.append(WandbSink(folder, config, corpus.labels, start))
    if config.logging.tensorboard:
        from seq.training.tensorboard_sink import TensorBoardSink

        sinks.append(TensorBoardSink(folder, start))
    return Logger(sinks)
