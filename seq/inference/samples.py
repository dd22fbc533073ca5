"""The samples of a language model's evaluation."""

from collections.abc import Iterator
from typing import Any

from launch.seeding import derive_seed
from seq.config import Config
from seq.data.corpus import Corpus
from seq.inference.write import Writer
from seq.models import Model
from seq.models.language_model import LanguageModel


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
