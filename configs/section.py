"""What all parts of the file have in common: strict keys, strict numbers, masked passwords."""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from chemprop_hpo.configs.secrets import mask_url

Value = bool | int | float | str
"""A hyperparameter's value as Optuna can store it."""


def _refuse_true_as_one(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(f"must be a number, not {str(value).lower()}")
    return value


Int = Annotated[int, BeforeValidator(_refuse_true_as_one)]
Float = Annotated[float, BeforeValidator(_refuse_true_as_one)]
PositiveInt = Annotated[Int, Field(gt=0)]
PositiveFloat = Annotated[Float, Field(gt=0)]
NonNegativeFloat = Annotated[Float, Field(ge=0)]


class Section(BaseModel):
    """A part of the file: frozen, and a key that it does not know is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, mask_url(value) if isinstance(value, str) else value


def plain_types(annotation: Any) -> tuple[Any, ...]:
    """Return the types of an annotation without constraints, ``None`` and union."""
    if get_origin(annotation) is Annotated:
        return plain_types(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return tuple(kind for part in get_args(annotation) for kind in plain_types(part))
    if get_origin(annotation) is Literal:
        return tuple({type(value) for value in get_args(annotation)})
    return () if annotation is type(None) else (annotation,)
