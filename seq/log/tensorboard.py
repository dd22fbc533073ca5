"""TensorBoard: curves and samples in `tensorboard/`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seq.errors import UserError, warn
from seq.tasks import Evaluation


class TensorBoardSink:
    """`start`: the step from which the run continues; what an earlier start wrote about later steps is hidden."""

    def __init__(self, folder: Path, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1)
        self._warned = False

    def event(self, event: str, step: int, values: dict[str, Any]) -> None:
        if event == "train":
            self._scalars(event, step, values)

    def evaluation(self, step: int, split: str, result: Evaluation) -> None:
        self._scalars(split, step, result.figures)

    def samples(self, step: int, samples: list[dict[str, Any]]) -> None:
        with self._surviving():
            for number, sample in enumerate(samples):
                text = f"{sample.get('label', '')} {sample['prompt']}{sample['text']}"
                self._writer.add_text(f"sample/{number}", _verbatim(text), step)

    def close(self, result: dict[str, Any]) -> None:
        with self._surviving():
            self._writer.close()

    def _scalars(self, prefix: str, step: int, values: dict[str, Any]) -> None:
        with self._surviving():
            for name, value in values.items():
                self._writer.add_scalar(f"{prefix}/{name}", value, step)

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        """A full disk does not end the run. metrics.jsonl keeps everything."""
        try:
            yield
        except OSError as error:
            if not self._warned:
                warn(f"TensorBoard: {error}; its curves have a gap")
            self._warned = True


def require_tensorboard() -> None:
    """UserError if the package is missing."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError:
        raise UserError("logging.tensorboard needs a package: pip install tensorboard") from None


def _verbatim(text: str) -> str:
    """TensorBoard reads Markdown, in which an indented block is shown as it is."""
    return "\n".join(f"    {line}" for line in text.splitlines())
