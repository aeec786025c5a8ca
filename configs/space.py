"""The search space as sets of values: which are inside, in what order, and which is the base."""

from __future__ import annotations

import math
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

from chemprop_hpo.configs.condition import parse_condition
from chemprop_hpo.configs.errors import SpaceError
from chemprop_hpo.configs.parameters import (
    Choice,
    Fixed,
    IntRange,
    LogUniform,
    Parameter,
    Uniform,
)
from chemprop_hpo.configs.problems import shown
from chemprop_hpo.configs.schema import ModelConfig, OptimizationConfig, SweepConfig
from chemprop_hpo.configs.section import Section, Value

__all__ = [
    "active_point",
    "base_point",
    "base_value",
    "contains",
    "describe",
    "grid_values",
    "hyperparameters",
    "sampling_order",
    "section_of",
]

_NOT_SEARCHED = frozenset({"seed", "num_workers", "progress_bar", "max_epochs"})
_CLOSE = 1e-9


def hyperparameters() -> dict[str, type[Section]]:
    """Return each name that can be searched, with the section that it belongs to."""
    sections: tuple[type[Section], ...] = (ModelConfig, OptimizationConfig)
    return {
        name: section
        for section in sections
        for name in section.model_fields
        if name not in _NOT_SEARCHED
    }


def section_of(name: str) -> str:
    """Return ``model`` or ``optimization``, where the hyperparameter's base value stands."""
    return "model" if name in ModelConfig.model_fields else "optimization"


def contains(parameter: Parameter, value: Value) -> bool:
    """Whether ``value`` is one that ``parameter`` can take."""
    if isinstance(parameter, Choice):
        return any(_same(value, choice) for choice in parameter.choices)
    if isinstance(parameter, Fixed):
        return _same(value, parameter.value)
    if isinstance(value, bool | str) or not parameter.low <= value <= parameter.high:
        return False
    return isinstance(parameter, LogUniform) or _on_step(value, parameter)


def _same(one: Value, other: Value) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _on_step(value: float, parameter: Uniform | IntRange) -> bool:
    if parameter.step is None:
        return True
    steps = (value - parameter.low) / parameter.step
    return math.isclose(steps, round(steps), rel_tol=_CLOSE, abs_tol=_CLOSE)


def describe(parameter: Parameter) -> str:
    """Return the values of ``parameter`` in words, such as ``goes from 2 to 6``."""
    if isinstance(parameter, Choice):
        return f"is one of {', '.join(shown(choice) for choice in parameter.choices)}"
    if isinstance(parameter, Fixed):
        return f"is fixed to {shown(parameter.value)}"
    step = getattr(parameter, "step", None)
    by = f" in steps of {step:g}" if step not in (None, 1) else ""
    return f"goes from {parameter.low:g} to {parameter.high:g}{by}"


def grid_values(parameter: Parameter) -> tuple[Value, ...] | None:
    """Return all values of ``parameter`` in order, or None if there is no end of them."""
    if isinstance(parameter, Choice):
        return parameter.choices
    if isinstance(parameter, Fixed):
        return (parameter.value,)
    if isinstance(parameter, IntRange):
        return tuple(range(parameter.low, parameter.high + 1, parameter.step))
    if parameter.low == parameter.high:
        return (parameter.low,)
    if isinstance(parameter, LogUniform) or parameter.step is None:
        return None
    count = math.floor((parameter.high - parameter.low) / parameter.step + _CLOSE) + 1
    return tuple(float(f"{parameter.low + i * parameter.step:.12g}") for i in range(count))


def sampling_order(space: Mapping[str, Parameter]) -> tuple[str, ...]:
    """Return the names so that each comes after those that its condition speaks of.

    The order is the same in every process, or a resumed sweep would draw other points.

    Raises
    ------
    SpaceError
        If conditions go round in a circle.
    """
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for name, parameter in space.items():
        needs = parse_condition(parameter.condition).names if parameter.condition else ()
        sorter.add(name, *(other for other in space if other in needs))
    try:
        return tuple(sorter.static_order())
    except CycleError as error:
        raise SpaceError(
            f"search_space goes round in a circle: {' -> '.join(error.args[1])}"
        ) from None


def active_point(
    space: Mapping[str, Parameter], values: Mapping[str, Value | None]
) -> dict[str, Value | None]:
    """Return those of ``values`` whose conditions hold, in sampling order."""
    point: dict[str, Value | None] = {}
    for name in sampling_order(space):
        text = space[name].condition
        known = {other: value for other, value in point.items() if value is not None}
        if name in values and (text is None or parse_condition(text).holds(known)):
            point[name] = values[name]
    return point


def base_point(config: SweepConfig) -> dict[str, Value]:
    """Return the base configuration as a point of the space, untaken branches left out.

    A parameter of type ``fixed`` counts with its fixed value. ``load_sweep`` has checked that
    the point lies in the space, unless ``base`` is false.
    """
    space = config.search_space
    point = active_point(space, {name: base_value(config, name) for name in space})
    return {name: value for name, value in point.items() if value is not None}


def base_value(config: SweepConfig, name: str) -> Value | None:
    """Return the value that trial 0 gives to a hyperparameter; None if it has none."""
    parameter = config.search_space.get(name)
    if isinstance(parameter, Fixed):
        return parameter.value
    value: Value | None = getattr(getattr(config, section_of(name)), name)
    return value
