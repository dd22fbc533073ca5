"""Sample outputs that are logged at each evaluation, by task."""

from collections.abc import Callable
from typing import Any, Protocol

from seq.config import Config, Task
from seq.data.corpus import Corpus
from seq.inference.decode import PairSamples
from seq.inference.samples import TextSamples
from seq.inference.tag import TagSamples
from seq.models import Model


class SampleWriter(Protocol):
    def write(self, model: Model, step: int) -> list[dict[str, Any]]:
        """Samples, each with `prompt` and `text`, perhaps `label` and the `truth`. The model is left in training mode."""
        ...


SAMPLES: dict[Task, Callable[[Config, Corpus], SampleWriter]] = {
    "language_modeling": TextSamples,
    "conditional_language_modeling": TextSamples,
    "tagging": TagSamples,
    "seq2seq": PairSamples,
}


def sample_writer(config: Config, corpus: Corpus) -> SampleWriter | None:
    """None for a task without samples."""
    return SAMPLES[config.task](config, corpus) if config.task in SAMPLES else None
