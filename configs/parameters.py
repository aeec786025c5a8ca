"""What can be written under ``search_space``: five kinds of parameter."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AliasChoices, Field, field_validator, model_validator

from chemprop_hpo.configs.section import Float, Int, PositiveFloat, PositiveInt, Section, Value


class _Conditional(Section):
    condition: str | None = None
    """Sampled only where this holds, such as "ffn_type == 'branched'"."""


class _Range(_Conditional):
    @model_validator(mode="after")
    def _ends_in_order(self) -> Self:
        low, high = getattr(self, "low"), getattr(self, "high")  # noqa: B009 # of the subclass
        step = getattr(self, "step", None)
        if low > high:
            raise ValueError(f"has low {low} above high {high}")
        if step is not None and low < high and step > high - low:
            raise ValueError(f"has a step of {step}, more than its range from {low} to {high}")
        return self


class Uniform(_Range):
    """A float between ``low`` and ``high``, on a grid of ``step`` if given."""

    type: Literal["uniform"] = "uniform"
    """A float between low and high."""
    low: Float
    """The smallest value."""
    high: Float
    """The largest value; may equal low."""
    step: PositiveFloat | None = Field(None, validation_alias=AliasChoices("step", "q"))
    """Only low, low + step, low + 2 step ...; may be called q."""


class LogUniform(_Range):
    """A positive float, uniform in its logarithm."""

    type: Literal["loguniform"] = "loguniform"
    """A positive float, uniform in its logarithm."""
    low: PositiveFloat
    """The smallest value, above zero."""
    high: PositiveFloat
    """The largest value; may equal low."""


class IntRange(_Range):
    """An integer from ``low`` to ``high``, both included."""

    type: Literal["randint"] = "randint"
    """An integer from low to high, both included."""
    low: Int
    """The smallest value."""
    high: Int
    """The largest value, itself included; may equal low."""
    step: PositiveInt = Field(1, validation_alias=AliasChoices("step", "q"))
    """Only low, low + step, low + 2 step ...; may be called q."""


class Choice(_Conditional):
    """One of the listed values."""

    type: Literal["choice"] = "choice"
    """One of the listed values."""
    choices: tuple[Value, ...] = Field(min_length=1)
    """The values to choose from, each once."""

    @field_validator("choices")
    @classmethod
    def _listed_once(cls, choices: tuple[Value, ...]) -> tuple[Value, ...]:
        twice = [value for i, value in enumerate(choices) if value in choices[:i]]
        if twice:
            raise ValueError(f"lists {twice[0]!r} twice")
        return choices


class Fixed(_Conditional):
    """A value that is not searched."""

    type: Literal["fixed"] = "fixed"
    """One value for all trials."""
    value: Value
    """The value, in place of the one in model or optimization."""


Parameter = Annotated[Uniform | LogUniform | IntRange | Choice | Fixed, Field(discriminator="type")]
