"""Sample outputs that are logged at each evaluation, by task."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from launch.seeding import derive_seed
from seq.config import Config, Task
from seq.data.corpus import Corpus
from seq.inference.decode import PairSamples
from seq.inference.tag import TagSamples
from seq.inference.write import Writer
from seq.models import Model
from seq.models.language_model import LanguageModel


class SampleWriter(Protocol):
    def write(self, model: Model, step: int) -> list[dict[str, Any]]:
        """Samples, each with `prompt` and `text`, perhaps `label` and the `truth`. The model is left in training mode."""
        ...


class TextSamples:
    """Writes the samples of `generation.prompts`."""

    def __init__(self, config: Config, corpus: Corpus) -> None:
        self._config, self._corpus = config, corpus

    def write(self, model: Model, step: int) -> list[dict[str, Any]]:
        """The model stays in training mode."""
        assert isinstance(model, LanguageModel)
        written = list(self._samples(model, step))
        model.train()
        return written

    def _samples(self, model: LanguageModel, step: int) -> Iterator[dict[str, Any]]:
        """One sample for each prompt, and for each label if the model writes by label. The text depends on the weights, the
        seed and the step."""
        config, writer = self._config, Writer(model, self._corpus.tokenizer, self._config.data.unit)
        by_label = config.task == "conditional_language_modeling"
        labels: list[tuple[int | None, str]] = list(enumerate(self._corpus.labels)) if by_label else [(None, "")]
        for number, prompt in enumerate(config.generation.prompts):
            for label, name in labels:
                key = (step, number) if label is None else (step, number, label)
                seed = derive_seed(config.run.seed, "sample", *key)
                (text,) = writer.generate(prompt, config.generation, seed=seed, label=label)
                yield {"prompt": prompt, "text": text} | ({"label": name} if by_label else {})


SAMPLES: dict[Task, Callable[[Config, Corpus], SampleWriter]] = {
    "language_modeling": TextSamples,
    "conditional_language_modeling": TextSamples,
    "tagging": TagSamples,
    "seq2seq": PairSamples,
}


def sample_writer(config: Config, corpus: Corpus) -> SampleWriter | None:
    """None for a task without samples."""
    return SAMPLES[config.task](config, corpus) if config.task in SAMPLES else None
