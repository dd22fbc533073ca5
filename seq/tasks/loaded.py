"""What the models that `seq.load` gives have in common: methods that take one text or many."""

from collections.abc import Callable, Sequence
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
        return method(self, list(texts), **settings)

    return cast(OneOrMany[Found], answer)


def join(texts: Sequence[Text]) -> list[str]:
    """The columns of each text joined. UserError for an empty text."""
    for number, text in enumerate(texts, 1):
        if not isinstance(text, str) and not (
            isinstance(text, Sequence) and all(isinstance(part, str) for part in text)
        ):
            raise UserError(f"text {number} of {len(texts)} is not text: {str(text)[:60]!r}")
        if not "".join(text).strip():
            raise UserError(f"text {number} of {len(texts)} is empty")
    return [text if isinstance(text, str) else join_columns(text) for text in texts]
