"""Rules of the search space: names, ranges, conditions, and the points to try first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from chemprop_hpo.configs.condition import parse_condition
from chemprop_hpo.configs.condition_checks import find_condition_problems
from chemprop_hpo.configs.draft import Draft
from chemprop_hpo.configs.parameters import (
    Choice,
    Fixed,
    LogUniform,
    Parameter,
    Uniform,
)
from chemprop_hpo.configs.problems import Loc, Problem, shown, suggestion
from chemprop_hpo.configs.schema import ModelConfig, OptimizationConfig
from chemprop_hpo.configs.section import Section, Value, plain_types
from chemprop_hpo.configs.space import (
    active_point,
    base_value,
    contains,
    describe,
    grid_values,
    hyperparameters,
    section_of,
)
from chemprop_hpo.configs.wording import problems_of

__all__ = ["find_space_problems"]

_SPACE: Loc = ("search_space",)


def find_space_problems(draft: Draft) -> Iterator[Problem]:
    """Yield each rule of the search space that is broken."""
    yield from _names(draft)
    values = list(_values(draft))
    flawed = {str(problem.loc[1]) for problem in values}
    conditions = list(find_condition_problems(draft, flawed))
    yield from values
    yield from conditions
    yield from _grid(draft)
    yield from _enqueued(draft, ordered=not conditions)
    if not values and not conditions:
        yield from _base(draft)


def _names(draft: Draft) -> Iterator[Problem]:
    known = hyperparameters()
    for name in sorted(draft.declared - set(known)):
        if name in {*ModelConfig.model_fields, *OptimizationConfig.model_fields}:
            text = f"cannot be searched; write it under {section_of(name)}"
        else:
            text = f"is unknown{suggestion(name, known)}"
        yield Problem((*_SPACE, name), text)


# --------------------------------------------------------------------------- values


def _values(draft: Draft) -> Iterator[Problem]:
    known = hyperparameters()
    for name, parameter in draft.config.search_space.items():
        if name in known:
            yield from _parameter(name, parameter, known[name])


def _parameter(name: str, parameter: Parameter, section: type[Section]) -> Iterator[Problem]:
    wrong_kind = _wrong_kind(name, parameter, section)
    if wrong_kind:
        yield Problem((*_SPACE, name, "type"), wrong_kind)
        return
    for loc, value in _edges(parameter):
        text = _wrong_value(name, value, section)
        if text:
            yield Problem((*_SPACE, name, *loc), text)


def _wrong_kind(name: str, parameter: Parameter, section: type[Section]) -> str | None:
    if isinstance(parameter, Choice | Fixed):
        return None
    takes = set(plain_types(section.model_fields[name].annotation))
    if not takes & {int, float}:
        return f"is {parameter.type}, but {name} is no number; use choice"
    if isinstance(parameter, Uniform | LogUniform) and float not in takes:
        return f"is {parameter.type}, but {name} is a whole number; use randint or choice"
    return None


def _edges(parameter: Parameter) -> list[tuple[Loc, Value]]:
    if isinstance(parameter, Choice):
        return [(("choices", index), value) for index, value in enumerate(parameter.choices)]
    if isinstance(parameter, Fixed):
        return [(("value",), parameter.value)]
    return [(("low",), parameter.low), (("high",), parameter.high)]


def _wrong_value(name: str, value: Value, section: type[Section]) -> str | None:
    try:
        section.model_validate({name: value})
    except ValidationError as error:
        return problems_of(error, {name: value}, section)[0].text
    if _as_written(name, value, section):
        return None
    return f"is {shown(value)}, of another type than {name}; write it as {name} takes it"


def _as_written(name: str, value: Value, section: type[Section]) -> bool:
    """Whether the value needs no conversion: '3' and 1 for true would be stored as they are."""
    takes = plain_types(section.model_fields[name].annotation)
    return type(value) in takes or (type(value) is int and float in takes)


# --------------------------------------------------------------------------- points to try first


def _grid(draft: Draft) -> Iterator[Problem]:
    if draft.config.sampler.type != "grid" or not draft.sound(("sampler",)):
        return
    for name, parameter in draft.config.search_space.items():
        if grid_values(parameter) is None:
            remedy = "give it a step" if isinstance(parameter, Uniform) else "use choice"
            text = f"is {parameter.type}, which has no end of values for a grid; {remedy}"
            yield Problem((*_SPACE, name), text, (("sampler", "type"),))


def _enqueued(draft: Draft, *, ordered: bool) -> Iterator[Problem]:
    if not draft.sound(("enqueue",)):
        return
    for index, entry in enumerate(draft.config.enqueue):
        for name, value in entry.items():
            text = _not_enqueued(draft, name, value)
            if text is None and ordered:
                text = _untaken(draft, name, entry)
            if text:
                yield Problem(("enqueue", index, name), text)


def _not_enqueued(draft: Draft, name: str, value: Value) -> str | None:
    space = draft.config.search_space
    if name in space:
        if contains(space[name], value):
            return None
        return f"is {shown(value)}, but search_space.{name} {describe(space[name])}"
    if name in draft.declared:
        return None
    if name in hyperparameters():
        return f"is not in search_space; write it under {section_of(name)}, or search it"
    return f"is unknown{suggestion(name, space)}"


def _untaken(draft: Draft, name: str, entry: dict[str, Value]) -> str | None:
    space = draft.config.search_space
    parameter = space.get(name)
    if parameter is None or parameter.condition is None:
        return None
    fixed = {other: p.value for other, p in space.items() if isinstance(p, Fixed)}
    if parse_condition(parameter.condition).verdict({**fixed, **entry}) is False:
        return f"is given, but its condition, {parameter.condition}, does not hold here"
    return None


def _base(draft: Draft) -> Iterator[Problem]:
    config = draft.config
    sound = draft.sound(("model",), ("optimization",), ("base",))
    if not config.base or not sound or draft.declared != set(config.search_space):
        return
    if draft.declared - set(hyperparameters()):
        return
    values: dict[str, Any] = {name: base_value(config, name) for name in config.search_space}
    for name, value in active_point(config.search_space, values).items():
        yield from _base_outside(name, value, config.search_space[name])


def _base_outside(name: str, value: Value | None, parameter: Parameter) -> Iterator[Problem]:
    key = f"{section_of(name)}.{name}"
    about: tuple[Loc, ...] = ((section_of(name), name), ("base",))
    if value is None:
        text = f"has no base value; set {key}, or base: false to try none"
        yield Problem((*_SPACE, name), text, about)
    elif not contains(parameter, value):
        text = f"{describe(parameter)} and leaves out the base value, {key}: {shown(value)}"
        yield Problem((*_SPACE, name), f"{text}; change one, or set base: false to try none", about)
