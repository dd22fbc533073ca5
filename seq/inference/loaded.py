"""A trained model for use in Python: `seq.load(RUN)`."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast, overload

import torch

from seq.config import Task
from seq.config.read import override_config
from seq.data.examples import join_columns
from seq.data.tokenizer import split_tokens
from seq.errors import UserError
from seq.inference.classify import predict, predict_numbers, predict_sets
from seq.inference.decode import Output, decode
from seq.inference.tag import show, tag
from seq.inference.trained import TrainedModel, load_ensemble
from seq.inference.write import Writer
from seq.models.language_model import LanguageModel

Text = str | Sequence[str]
"""With several text columns, a text is a sequence of their texts; for a tagger it may be a sequence of tokens."""
Found = TypeVar("Found")


class OneOrMany(Protocol[Found]):
    """For a string its answer, for a list of texts the list of their answers. UserError for an empty text."""

    @overload
    def __call__(self, texts: str, **settings: Any) -> Found: ...
    @overload
    def __call__(self, texts: Sequence[Text], **settings: Any) -> list[Found]: ...


def one_or_many(method: Callable[..., list[Found]]) -> OneOrMany[Found]:
    """Let a method that answers a list of texts answer a string too."""

    @wraps(method)
    def answer(self: Any, texts: str | Sequence[Text], **settings: Any) -> Found | list[Found]:
        if isinstance(texts, str):
            return method(self, [texts], **settings)[0]
        return method(self, texts, **settings)

    return cast(OneOrMany[Found], answer)


def _joined(texts: Sequence[Text]) -> list[str]:
    for number, text in enumerate(texts, 1):
        if not "".join(text).strip():
            raise UserError(f"text {number} of {len(texts)} is empty")
    return [text if isinstance(text, str) else join_columns(text) for text in texts]


@dataclass(frozen=True)
class LoadedClassifier:
    trained: TrainedModel

    @property
    def labels(self) -> tuple[str, ...]:
        return self.trained.labels

    @one_or_many
    def predict(self, texts: Sequence[Text]) -> list[str]:
        """The likeliest label of each text. With several text columns, a text is a sequence of their texts."""
        return [best[0][0] for _, best in predict(self.trained, _joined(texts), top=1)]

    @one_or_many
    def probabilities(self, texts: Sequence[Text]) -> list[dict[str, float]]:
        """For each text, as in `predict`, the probability of each label, the likeliest first."""
        return [dict(best) for _, best in predict(self.trained, _joined(texts), top=len(self.labels))]


@dataclass(frozen=True)
class LoadedLabelSets:
    """A classifier that gives each text any number of labels."""

    trained: TrainedModel

    @property
    def labels(self) -> tuple[str, ...]:
        return self.trained.labels

    @one_or_many
    def predict(self, texts: Sequence[Text]) -> list[list[str]]:
        """For each text the labels that are at least as likely as not, the likeliest first."""
        return [[label for label, _ in found] for _, found in predict_sets(self.trained, _joined(texts))]

    @one_or_many
    def probabilities(self, texts: Sequence[Text]) -> list[dict[str, float]]:
        """For each text the probability of each label, the likeliest first."""
        return [dict(found) for _, found in predict_sets(self.trained, _joined(texts), top=len(self.labels))]


@dataclass(frozen=True)
class LoadedRegressor:
    """A model that gives each text a number."""

    trained: TrainedModel

    @one_or_many
    def predict(self, texts: Sequence[Text]) -> list[float]:
        """The number of each text."""
        return [value for _, value in predict_numbers(self.trained, _joined(texts))]


@dataclass(frozen=True)
class LoadedTagger:
    """A model that gives each token of a text a tag."""

    trained: TrainedModel

    @property
    def labels(self) -> tuple[str, ...]:
        """All tags."""
        return self.trained.labels

    @one_or_many
    def predict(self, texts: Sequence[Text]) -> list[list[tuple[str, str]]]:
        """For each text its tokens with their tags. A text is a sequence of tokens, or tokens with white space between them."""
        tokens = [split_tokens(text) if isinstance(text, str) else list(text) for text in texts]
        return [list(zip(own, tags, strict=True)) for own, tags in zip(tokens, tag(self.trained, tokens), strict=True)]

    @one_or_many
    def restore(self, texts: Sequence[str]) -> list[str]:
        """Texts with the capitals and marks that a model of `data.source=punctuation` gives them."""
        tokens = [split_tokens(text) for text in texts]
        return [show(self.trained, *pair) for pair in zip(tokens, tag(self.trained, tokens), strict=True)]


@dataclass(frozen=True)
class LoadedSeq2Seq:
    """A model that writes another sequence for each text."""

    trained: TrainedModel

    @one_or_many
    def predict(self, texts: Sequence[str], *, beam: int = 5) -> list[str]:
        """The likeliest output for each text. UserError for an empty or a too long text."""
        return [found[0].text for _, found in decode(self.trained, _joined(texts), beam=beam)]

    @one_or_many
    def nbest(self, texts: Sequence[str], *, number: int = 5, beam: int = 5) -> list[list[Output]]:
        """For each text, as in `predict`, its likeliest outputs with their probabilities."""
        return [found for _, found in decode(self.trained, _joined(texts), beam=beam, nbest=number)]


@dataclass(frozen=True)
class LoadedLanguageModel:
    trained: TrainedModel

    @property
    def labels(self) -> tuple[str, ...]:
        """Empty unless the model writes by label."""
        return self.trained.labels

    def generate(
        self, prompt: str = "", *, num: int = 1, seed: int = 1, label: str | None = None, **settings: Any
    ) -> list[str]:
        """`num` texts that continue `prompt` and do not contain it. `settings`: keys of the config section `generation`,
        such as `length=200, temperature=0.7, top_p=0.9`; the others are as in the run. UserError for an unknown key or
        label."""
        overrides = [f"generation.{key}={json.dumps(value)}" for key, value in settings.items()]
        config = override_config(self.trained.config, overrides, where="generate").generation
        assert isinstance(self.trained.model, LanguageModel)
        writer = Writer(self.trained.model, self.trained.tokenizer, self.trained.config.data.unit)
        return writer.generate(prompt, config, seed=seed, num=num, label=self.trained.label_id(label))


Loaded = LoadedClassifier | LoadedLabelSets | LoadedRegressor | LoadedTagger | LoadedSeq2Seq | LoadedLanguageModel
LOADED: dict[Task, type[Loaded]] = {
    "classification": LoadedClassifier,
    "multilabel": LoadedLabelSets,
    "regression": LoadedRegressor,
    "tagging": LoadedTagger,
    "seq2seq": LoadedSeq2Seq,
    "language_modeling": LoadedLanguageModel,
    "conditional_language_modeling": LoadedLanguageModel,
}


def load_model(runs: Sequence[Path], device: str | torch.device | None = None) -> Loaded:
    """Load the best or newest checkpoint of each run directory, or an exported `model/` folder, on `device`, or on the GPU if there is
    one. UserError for a device that is not there."""
    try:
        where = None if device is None else torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device={device}: {str(error).splitlines()[0]}") from None
    trained = load_ensemble(runs, device=where)
    return LOADED[trained.config.task](trained)
