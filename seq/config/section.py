"""What all sections of the config have in common: strictness, and documentation under each field."""

import json
from collections.abc import Iterator
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Code = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*:[A-Za-z_]\w*$")]
"""`my_module:name`, of the user's own (`seq.config.own_code`)."""


class Section(BaseModel):
    """Frozen; refuses unknown keys; converts no types (`"10"` is not a number, `true` is not 1)."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        serialize_by_alias=True,
    )


def describe_keys(section: type[BaseModel]) -> list[tuple[str, str, str]]:
    """(dotted key, default as JSON, meaning) of every key in the section and in the sections inside it."""
    return list(dict.fromkeys(_walk(section, "")))


def _walk(section: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    for attribute, field in section.model_fields.items():
        name = field.alias or attribute
        inner = [kind for kind in _types(field) if isinstance(kind, type) and issubclass(kind, BaseModel)]
        for kind in inner:
            yield from _walk(kind, f"{prefix}{name}.")
        if not inner:
            default = json.dumps(field.get_default(call_default_factory=True))
            yield f"{prefix}{name}", default, " ".join((field.description or "").split())


def _types(field: FieldInfo) -> tuple[Any, ...]:
    return get_args(field.annotation) or (field.annotation,)
