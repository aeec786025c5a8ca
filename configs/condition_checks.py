"""Rules of conditions: names that exist, no circles, and branches that can be taken."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from chemprop_hpo.configs.condition import Comparison, Condition, parse_condition
from chemprop_hpo.configs.draft import Draft
from chemprop_hpo.configs.errors import ConfigError
from chemprop_hpo.configs.parameters import Choice, Fixed, IntRange, LogUniform, Parameter, Uniform
from chemprop_hpo.configs.problems import Loc, Problem, shown, suggestion
from chemprop_hpo.configs.section import Value
from chemprop_hpo.configs.space import contains, describe, hyperparameters, section_of

__all__ = ["find_condition_problems"]

_MOST_COMBINATIONS = 20_000
_MOST_INTEGERS = 50
Conditions = Mapping[str, Condition]
Space = Mapping[str, Parameter]


def find_condition_problems(draft: Draft, flawed: Collection[str]) -> Iterator[Problem]:
    """Yield what is wrong with the conditions of the search space.

    Parameters
    ----------
    draft : Draft
        The configuration.
    flawed : collection of str
        Parameters whose values are wrong; nothing is said of comparisons with them.
    """
    space = draft.config.search_space
    conditions: dict[str, Condition] = {}
    problems: list[Problem] = []
    for name, parameter in space.items():
        if parameter.condition is not None:
            problems += _read(name, parameter.condition, conditions)
    circle = list(_circles(conditions))
    for name, condition in conditions.items():
        problems += _names(name, condition, draft)
        problems += _comparisons(name, condition, space, flawed)
    yield from (*problems, *circle)
    if not problems and not circle and not flawed:
        yield from _untakable(conditions, space)


def _place(name: str) -> Loc:
    return ("search_space", name, "condition")


def _read(name: str, text: str, conditions: dict[str, Condition]) -> list[Problem]:
    try:
        conditions[name] = parse_condition(text)
    except ConfigError as error:
        return [Problem(_place(name), str(error).removeprefix("condition "))]
    return []


def _names(name: str, condition: Condition, draft: Draft) -> Iterator[Problem]:
    about = tuple(("search_space", other) for other in sorted(condition.names))
    if name in condition.names:
        yield Problem(_place(name), "names the parameter itself", about)
    for other in sorted(condition.names - draft.declared):
        if other in hyperparameters():
            fix = f"add it there with type: fixed, or move {section_of(other)}.{other}"
            yield Problem(_place(name), f"names {other}, which is not in search_space; {fix}")
        else:
            near = suggestion(other, sorted(draft.declared))
            yield Problem(_place(name), f"names {other}, which is unknown{near}")


def _circles(conditions: Conditions) -> Iterator[Problem]:
    graph = {name: condition.names - {name} for name, condition in conditions.items()}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        names: list[str] = error.args[1]
        text = f"goes round in a circle: {' -> '.join(names)}"
        yield Problem(_place(names[0]), text, tuple(_place(other) for other in names))


# --------------------------------------------------------------------------- one comparison


def _comparisons(
    name: str, condition: Condition, space: Space, flawed: Collection[str]
) -> Iterator[Problem]:
    for comparison in condition.comparisons:
        parameter = None if comparison.name in flawed else space.get(comparison.name)
        text = parameter and _impossible(comparison, parameter)
        if text:
            about: tuple[Loc, ...] = (("search_space", comparison.name),)
            yield Problem(_place(name), text, about)


def _impossible(comparison: Comparison, parameter: Parameter) -> str | None:
    constants = comparison.constant
    items = constants if isinstance(constants, tuple) else (constants,)
    if comparison.symbol in ("==", "!=", "in", "not in"):
        strange = [item for item in items if not contains(parameter, item)]
        if not strange:
            return None
        return f"compares {comparison.name} with {shown(strange[0])}{_never(parameter, strange[0])}"
    return _impossible_order(comparison, items[0], parameter)


def _never(parameter: Parameter, value: Value) -> str:
    known = [str(choice) for choice in parameter.choices] if isinstance(parameter, Choice) else []
    near = suggestion(str(value), known) if isinstance(value, str) else ""
    remedy = near if "did you mean" in near else f"; it {describe(parameter)}"
    return f", which it can never be{remedy}"


def _impossible_order(comparison: Comparison, bound: Value, parameter: Parameter) -> str | None:
    written = f"{comparison.name} {comparison.symbol} {shown(bound)}"
    values = _telling_values(parameter, [bound])
    if any(isinstance(value, str | bool) != isinstance(bound, str | bool) for value in values):
        return f"compares numbers with something else: {written}"
    test = parse_condition(f"{comparison.name} {comparison.symbol} {bound!r}")
    if any(test.holds({comparison.name: value}) for value in values):
        return None
    return f"can never be true, since {comparison.name} {describe(parameter)}: {written}"


# --------------------------------------------------------------------------- whole branches


def _untakable(conditions: Conditions, space: Space) -> Iterator[Problem]:
    order = tuple(TopologicalSorter({n: c.names for n, c in conditions.items()}).static_order())
    for name, condition in conditions.items():
        needed = _ancestors(name, conditions)
        names = [other for other in order if other in needed and other in space]
        if needed <= set(space) and not _can_hold(condition, names, conditions, space):
            text = f"{condition.text!r} can never be true, so {name} is never used"
            yield Problem(_place(name), text, tuple(("search_space", other) for other in names))


def _ancestors(name: str, conditions: Conditions) -> set[str]:
    found: set[str] = set()
    open_names = set(conditions[name].names)
    while open_names:
        other = open_names.pop()
        found.add(other)
        if other in conditions:
            open_names |= conditions[other].names - found
    return found


def _can_hold(condition: Condition, names: list[str], conditions: Conditions, space: Space) -> bool:
    """Try every combination of values that conditions can tell apart."""
    constants = list(_constants([condition, *(conditions[n] for n in names if n in conditions)]))
    values = [_telling_values(space[name], constants) for name in names]
    if math.prod(len(some) for some in values) > _MOST_COMBINATIONS:
        return True  # too many to say: let it pass
    return any(
        condition.holds(_taken(dict(zip(names, point, strict=True)), conditions))
        for point in itertools.product(*values)
    )


def _constants(conditions: Iterable[Condition]) -> Iterator[Value]:
    for condition in conditions:
        for comparison in condition.comparisons:
            constant = comparison.constant
            yield from constant if isinstance(constant, tuple) else (constant,)


def _taken(point: dict[str, Value], conditions: Conditions) -> dict[str, Value]:
    taken: dict[str, Value] = {}
    for name, value in point.items():
        if name not in conditions or conditions[name].holds(taken):
            taken[name] = value
    return taken


def _telling_values(parameter: Parameter, constants: Iterable[Value]) -> list[Value]:
    """Return values of ``parameter`` that stand for all others as far as ``constants`` tell."""
    if isinstance(parameter, Choice):
        return list(parameter.choices)
    if isinstance(parameter, Fixed):
        return [parameter.value]
    if isinstance(parameter, IntRange) and parameter.high - parameter.low <= _MOST_INTEGERS:
        return list(range(parameter.low, parameter.high + 1, parameter.step))
    return _telling_numbers(parameter, constants)


def _telling_numbers(
    parameter: Uniform | LogUniform | IntRange, constants: Iterable[Value]
) -> list[Value]:
    numbers = {float(c) for c in constants if not isinstance(c, str | bool)}
    if isinstance(parameter, IntRange):
        near = {math.floor(n) + shift for n in numbers for shift in range(-1, parameter.step + 2)}
        edges = {parameter.low, *range(parameter.low, parameter.high + 1, parameter.step)[-1:]}
        return sorted(edges | {n for n in near if contains(parameter, n)})
    marks = sorted({parameter.low, parameter.high} | {n for n in numbers if contains(parameter, n)})
    return [*marks, *((one + other) / 2 for one, other in itertools.pairwise(marks))]
