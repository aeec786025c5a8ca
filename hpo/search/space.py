"""Turn a configuration's search space into one define-by-run function with real conditionals."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import BaseTrial

from chemprop_hpo.configs.condition import Condition, parse_condition
from chemprop_hpo.configs.errors import SpaceError
from chemprop_hpo.configs.schema import (
    Choice,
    Fixed,
    IntRange,
    LogUniform,
    Parameter,
    SweepConfig,
    Uniform,
    Value,
)

__all__ = ["Space"]


@dataclass(frozen=True)
class Space:
    """Parameters in an order in which every condition is decided before it is needed.

    Parameters
    ----------
    parameters : dict
        Parameter by hyperparameter name, parents first.
    conditions : dict
        The parsed condition of each parameter that has one.
    """

    parameters: Mapping[str, Parameter]
    conditions: Mapping[str, Condition]

    @classmethod
    def of(cls, config: SweepConfig) -> Space:
        """Return the space of a validated configuration."""
        parsed = {
            name: parse_condition(parameter.condition)
            for name, parameter in config.search_space.items()
            if parameter.condition is not None
        }
        order = _parents_first(list(config.search_space), parsed)
        return cls({name: config.search_space[name] for name in order}, parsed)

    def suggest(self, trial: BaseTrial) -> dict[str, Value]:
        """Ask ``trial`` for a value of each parameter whose condition holds.

        A parameter of an untaken branch is not asked for and leaves nothing behind.
        """
        values: dict[str, Value] = {}
        for name, parameter in self.parameters.items():
            if self.takes(name, values):
                values[name] = trial._suggest(name, distribution(parameter))  # type: ignore[attr-defined]  # one call for all kinds; suggest_* wrap it
        return values

    def takes(self, name: str, values: Mapping[str, Value]) -> bool:
        """Whether the branch that ``name`` belongs to is taken, given its parents' values."""
        condition = self.conditions.get(name)
        return condition is None or condition.holds(values)

    def active(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return those of ``values`` that belong to branches that they themselves take."""
        kept: dict[str, Value] = {}
        for name in self.parameters:
            if name in values and self.takes(name, kept):
                kept[name] = values[name]
        return kept

    def base_values(self, config: SweepConfig) -> dict[str, Value]:
        """Return the base configuration as a point of this space."""
        written = config.model.model_dump() | config.optimization.model_dump()
        values: dict[str, Value] = {}
        for name, parameter in self.parameters.items():
            if self.takes(name, values):
                fixed = isinstance(parameter, Fixed)
                values[name] = parameter.value if fixed else written[name]
        return values

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return the Optuna distribution of each parameter."""
        return {name: distribution(parameter) for name, parameter in self.parameters.items()}

    def to_json(self) -> dict[str, Any]:
        """Return the space as plain data, in the words of the YAML file."""
        return {name: p.model_dump(mode="json") for name, p in self.parameters.items()}

    # ------------------------------------------------------------------ finite spaces

    def unlisted(self) -> list[str]:
        """Return the parameters that have no finite list of values."""
        return [name for name, p in self.parameters.items() if listed(p) is None]

    def size(self) -> int | None:
        """Return the number of points, or ``None`` where a parameter is continuous."""
        return None if self.unlisted() else sum(1 for _ in self.points())

    def points(self) -> Iterator[dict[str, Value]]:
        """Yield every point of a finite space once, the last parameter changing fastest.

        Raises
        ------
        SpaceError
            If a parameter is continuous.
        """
        if unlisted := self.unlisted():
            raise SpaceError(
                f"search_space: a grid needs finite values, and {', '.join(unlisted)} "
                "has none; give choices, a step, or use sampler.type: tpe"
            )
        return self._points(tuple(self.parameters), {})

    def _points(
        self, names: tuple[str, ...], chosen: dict[str, Value]
    ) -> Iterator[dict[str, Value]]:
        if not names:
            yield dict(chosen)
            return
        name, *rest = names
        options = listed(self.parameters[name]) or () if self.takes(name, chosen) else ()
        for value in options:
            yield from self._points(tuple(rest), {**chosen, name: value})
        if not options:
            yield from self._points(tuple(rest), chosen)

    # ------------------------------------------------------------------ for people

    def tree(self) -> str:
        """Return the space as an indented tree: each conditional below what it depends on."""
        lines: list[str] = []
        for name in self.parameters:
            if name not in self.conditions:
                self._grow(name, 0, lines, set())
        return "\n".join(lines)

    def _grow(self, name: str, depth: int, lines: list[str], seen: set[str]) -> None:
        condition = self.conditions.get(name)
        when = f"   if {condition.text}" if condition else ""
        lines.append(f"{'  ' * depth}{name}: {describe(self.parameters[name])}{when}")
        for child, its_condition in self.conditions.items():
            if self._last_parent(its_condition) == name and child not in seen:
                self._grow(child, depth + 1, lines, seen | {child})

    def _last_parent(self, condition: Condition) -> str:
        order = list(self.parameters)
        return max(condition.names, key=order.index)

    def describe_size(self) -> str:
        """Return how large the space is, in words."""
        size = self.size()
        branches = len(self._branches())
        if size is not None:
            return f"{size:,} points in {branches} branch{'es' if branches > 1 else ''}"
        continuous = len(self.unlisted())
        return (
            f"{len(self.parameters)} parameters, {continuous} of them continuous; "
            f"{branches} branch{'es' if branches > 1 else ''}"
        )

    def _branches(self) -> set[frozenset[str]]:
        deciding = sorted({name for c in self.conditions.values() for name in c.names})
        options = [listed(self.parameters[n]) or _ends(self.parameters[n]) for n in deciding]
        taken = (dict(zip(deciding, values, strict=True)) for values in itertools.product(*options))
        return {frozenset(self._names_taken(values)) for values in taken}

    def _names_taken(self, values: Mapping[str, Value]) -> list[str]:
        kept = self.active(values)
        return [name for name in self.parameters if self.takes(name, kept)]


def _parents_first(names: list[str], conditions: Mapping[str, Condition]) -> list[str]:
    ordered: list[str] = []
    waiting = list(names)
    while waiting:
        ready = [n for n in waiting if n not in conditions or conditions[n].names <= set(ordered)]
        if not ready:
            raise SpaceError(f"search_space: conditions of {', '.join(waiting)} cannot be ordered")
        ordered += ready
        waiting = [n for n in waiting if n not in ready]
    return ordered


# ---------------------------------------------------------------------- the kinds, one by one


@singledispatch
def distribution(parameter: Parameter) -> BaseDistribution:
    """Return the Optuna distribution of a parameter kind."""
    raise TypeError(f"no distribution for {type(parameter).__name__}")


@distribution.register
def _(parameter: Uniform) -> BaseDistribution:
    high = parameter.high
    if parameter.step is not None:
        high = float(_steps(parameter.low, parameter.high, parameter.step)[-1])
    return FloatDistribution(parameter.low, high, step=parameter.step)


@distribution.register
def _(parameter: LogUniform) -> BaseDistribution:
    return FloatDistribution(parameter.low, parameter.high, log=True)


@distribution.register
def _(parameter: IntRange) -> BaseDistribution:
    last = range(parameter.low, parameter.high + 1, parameter.step)[-1]
    return IntDistribution(parameter.low, last, step=parameter.step)


@distribution.register
def _(parameter: Choice) -> BaseDistribution:
    return CategoricalDistribution(parameter.choices)


@distribution.register
def _(parameter: Fixed) -> BaseDistribution:
    return CategoricalDistribution((parameter.value,))


@singledispatch
def listed(parameter: Parameter) -> tuple[Value, ...] | None:
    """Return all values of a finite parameter, ``None`` for a continuous one."""
    return None


@listed.register
def _(parameter: Uniform) -> tuple[Value, ...] | None:
    if parameter.step is None:
        return None
    return tuple(float(v) for v in _steps(parameter.low, parameter.high, parameter.step))


@listed.register
def _(parameter: IntRange) -> tuple[Value, ...] | None:
    return tuple(range(parameter.low, parameter.high + 1, parameter.step))


@listed.register
def _(parameter: Choice) -> tuple[Value, ...] | None:
    return parameter.choices


@listed.register
def _(parameter: Fixed) -> tuple[Value, ...] | None:
    return (parameter.value,)


def _steps(low: float, high: float, step: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    # A tolerance of a billionth of a step: 0.4 / 0.1 is a little below 4 in binary.
    count = int(np.floor((high - low) / step + 1e-9)) + 1
    return low + step * np.arange(count)


def _ends(parameter: Parameter) -> tuple[Value, ...]:
    # Only Uniform and LogUniform come here: a condition on them is decided at the ends
    # or between, which these three values show well enough for counting branches.
    low, high = parameter.low, parameter.high  # type: ignore[union-attr]  # the continuous kinds
    return (low, (low + high) / 2, high)


def describe(parameter: Parameter) -> str:
    """Return one parameter in a few words, e.g. ``2 .. 6`` or ``one of 16, 32``."""
    if isinstance(parameter, Fixed):
        return f"always {parameter.value}"
    if isinstance(parameter, Choice):
        return "one of " + ", ".join(str(c) for c in parameter.choices)
    step = getattr(parameter, "step", None)
    scale = " (log scale)" if isinstance(parameter, LogUniform) else ""
    stride = f" in steps of {step:g}" if step not in (None, 1) else ""
    kind = " (whole numbers)" if isinstance(parameter, IntRange) else ""
    return f"{parameter.low:g} .. {parameter.high:g}{stride}{scale}{kind}"
