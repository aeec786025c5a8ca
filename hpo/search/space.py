"""Turn a configuration's search space into one define-by-run function with real conditionals."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import BaseTrial, FrozenTrial, Trial

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
from chemprop_hpo.configs.space import describe, grid_values, sampling_order

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
        space = config.search_space
        ordered = {name: space[name] for name in sampling_order(space)}
        parsed = {
            name: parse_condition(parameter.condition)
            for name, parameter in ordered.items()
            if parameter.condition is not None
        }
        return cls(ordered, parsed)

    def suggest(self, trial: BaseTrial) -> dict[str, Value]:
        """Ask ``trial`` for a value of each parameter whose condition holds.

        A parameter of an untaken branch is not asked for and leaves nothing behind. A trial
        that goes on with another keeps that one's values, whatever the space is by now.
        """
        kept = _distributions_before(trial)
        if kept is not None:
            return {name: suggest_one(trial, name, asked) for name, asked in kept.items()}
        with warnings.catch_warnings():
            # A point that waited while a range became narrower.
            warnings.filterwarnings("ignore", message="Fixed parameter .* is out of range")
            return self._suggest_new(trial)

    def _suggest_new(self, trial: BaseTrial) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for name, parameter in self.parameters.items():
            if self.takes(name, values):
                values[name] = suggest_one(trial, name, distribution(parameter))
        return values

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return Optuna's distribution of each parameter, those of all branches."""
        return {name: distribution(parameter) for name, parameter in self.parameters.items()}

    def takes(self, name: str, values: Mapping[str, Value]) -> bool:
        """Whether the branch that ``name`` belongs to is taken, given its parents' values."""
        condition = self.conditions.get(name)
        return condition is None or condition.holds(values)

    def to_json(self) -> dict[str, Any]:
        """Return the space as plain data, in the words of the YAML file."""
        return {name: p.model_dump(mode="json") for name, p in self.parameters.items()}

    # ------------------------------------------------------------------ finite spaces

    def unlisted(self) -> list[str]:
        """Return the parameters that have no finite list of values."""
        return [name for name, p in self.parameters.items() if grid_values(p) is None]

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
        taken = self.takes(name, chosen)
        options = (grid_values(self.parameters[name]) or ()) if taken else ()
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
                self._grow(name, 0, lines)
        return "\n".join(lines)

    def _grow(self, name: str, depth: int, lines: list[str]) -> None:
        condition = self.conditions.get(name)
        when = f", if {condition.text}" if condition else ""
        log = " (log scale)" if isinstance(self.parameters[name], LogUniform) else ""
        lines.append(f"{'  ' * depth}{name} {describe(self.parameters[name])}{log}{when}")
        for child, its_condition in self.conditions.items():
            if self._last_parent(its_condition) == name:
                self._grow(child, depth + 1, lines)

    def _last_parent(self, condition: Condition) -> str:
        order = list(self.parameters)
        return max(condition.names, key=order.index)

    def describe_size(self) -> str:
        """Return how large the space is, in words."""
        size, count = self.size(), len(self._branches())
        branches = "1 branch" if count == 1 else f"{count} branches"
        if size is not None:
            return f"{size:,} point{'' if size == 1 else 's'} in {branches}"
        continuous = len(self.unlisted())
        return f"{len(self.parameters)} parameters, {continuous} of them continuous; {branches}"

    def _branches(self) -> set[frozenset[str]]:
        deciding = sorted({name for c in self.conditions.values() for name in c.names})
        options = [_typical_values(self.parameters[name]) for name in deciding]
        values = (dict(zip(deciding, v, strict=True)) for v in itertools.product(*options))
        return {frozenset(self._names_taken(v)) for v in values}

    def _names_taken(self, values: Mapping[str, Value]) -> list[str]:
        kept: dict[str, Value] = {}
        for name in self.parameters:
            if name in values and self.takes(name, kept):
                kept[name] = values[name]
        return [name for name in self.parameters if self.takes(name, kept)]


def _distributions_before(trial: BaseTrial) -> Mapping[str, BaseDistribution] | None:
    """Return what the trial that this one goes on with was asked; None where there is none.

    Nor is there one for a trial that goes on with one whose driver died before all was asked:
    the attributes written after that are not handed on.
    """
    if not isinstance(trial, Trial):
        return None
    attributes = trial.user_attrs
    if "continues" not in attributes or "checkpoint" not in attributes:
        return None
    before: FrozenTrial = trial.study.get_trials(deepcopy=False)[attributes["continues"]]
    return before.distributions


def suggest_one(trial: BaseTrial, name: str, wanted: BaseDistribution) -> Value:
    """Ask a trial for a value of any distribution."""
    if isinstance(wanted, CategoricalDistribution):
        chosen: Value = trial.suggest_categorical(name, wanted.choices)  # type: ignore[assignment]  # our choices hold no None
        return chosen
    if isinstance(wanted, IntDistribution):
        return trial.suggest_int(name, wanted.low, wanted.high, step=wanted.step)
    if not isinstance(wanted, FloatDistribution):
        raise TypeError(f"no way to ask for {type(wanted).__name__}")
    return trial.suggest_float(name, wanted.low, wanted.high, step=wanted.step, log=wanted.log)


@singledispatch
def distribution(parameter: Parameter) -> BaseDistribution:
    """Return the Optuna distribution of a parameter kind."""
    raise TypeError(f"no distribution for {type(parameter).__name__}")


@distribution.register
def _(parameter: Uniform) -> BaseDistribution:
    # The last whole step: Optuna would cut the range with a warning.
    listed = grid_values(parameter)
    high = float(listed[-1]) if listed else parameter.high
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


def _typical_values(parameter: Parameter) -> tuple[Value, ...]:
    """Return all values of a finite parameter, both ends and the middle of a continuous one."""
    if isinstance(parameter, Uniform | LogUniform):
        middle = (parameter.low + parameter.high) / 2
        return grid_values(parameter) or (parameter.low, middle, parameter.high)
    return grid_values(parameter) or ()
