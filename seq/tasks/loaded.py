"""What the models that `seq.load` gives have in common: methods that take one text or many."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Protocol, TypeVar, cast, overload

from seq.data.examples import join_columns
from seq.errors import UserError
from seq.tasks.task import TrainedModel


@dataclass(frozen=True)
class LoadedModel:
    """What `seq.load` gives; each task adds its methods."""

    trained: TrainedModel

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels or tags; empty for a model without any."""
        return self.trained.labels

    def joined(self, texts: Sequence["Text"]) -> list[str]:
        """The columns of each text joined. UserError for an empty text, or one with another number of columns than the model reads."""
        columns = self.trained.config.data.text_columns
        for number, text in enumerate(texts, 1):
            where, parts = f"text {number} of {len(texts)}", _parts(text, columns)
            if parts is None:
                raise UserError(f"{where} is not text: {str(text)[:60]!r}")
            if len(parts) != len(columns):
                raise UserError(
                    f"{where} has {len(parts)} of the model's columns {', '.join(columns)}; give a sequence of their texts"
                )
            if not "".join(parts).strip():
                raise UserError(f"{where} is empty")
        return [join_columns(_parts(text, columns) or ()) for text in texts]


def _parts(text: object, columns: Sequence[str]) -> Sequence[str] | None:
    """None if it is no text."""
    if isinstance(text, str):
        return [text]
    if isinstance(text, Mapping):
        text = [text.get(name) for name in columns]
    return text if isinstance(text, Sequence) and all(isinstance(part, str) for part in text) else None


Text = str | Sequence[str] | Mapping[str, str]
"""With several text columns, a text is a sequence of their texts, or has them by name; for a tagger it may be a sequence of tokens."""
Found = TypeVar("Found")


class OneOrMany(Protocol[Found]):
    """For a text its answer, for a list of texts the list of their answers. UserError for an empty text. With several text columns,
    strings alone are the columns of one text."""

    @overload
    def __call__(self, texts: str | Mapping[str, str], **settings: Any) -> Found: ...
    @overload
    def __call__(self, texts: Sequence[Text], **settings: Any) -> list[Found]: ...


def one_or_many(method: Callable[..., list[Found]]) -> OneOrMany[Found]:
    """Let a method that answers a list of texts answer one text too."""

    @wraps(method)
    def answer(self: Any, texts: str | Sequence[Text], **settings: Any) -> Found | list[Found]:
        if not isinstance(texts, str | Sequence | Mapping):
            raise UserError(f"{str(texts)[:60]!r} is neither a text nor a list of texts")
        several = len(self.trained.config.data.text_columns) > 1
        if isinstance(texts, str | Mapping) or (several and texts and all(isinstance(part, str) for part in texts)):
            return method(self, [texts], **settings)[0]
        return method(self, list(texts), **settings)

    return cast(OneOrMany[Found], answer)
