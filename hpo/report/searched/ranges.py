"""Where the top trials lie in what was searched, and whether they crowd at an end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from chemprop_hpo.configs.section import Value
from chemprop_hpo.hpo.report.searched.content import Search, SearchedParameter

__all__ = ["End", "choice_counts", "crowded_end", "places", "top_span"]

End = Literal["low", "high"]

EDGE = 0.1
"""The part of a range that is its end."""

CHANCE = 0.01
"""A crowd is one that values spread evenly over the range would show less often than this."""

LEAST = 3
CLOSE = 1e-9


def places(
    search: Search, parameter: SearchedParameter, *, top: bool = False
) -> list[tuple[float, float]]:
    """Return place and metric of each trial that has the parameter, or of the top ones."""
    trials = search.top if top else search.trials
    known = [(t.parameters[parameter.name], t) for t in trials if parameter.name in t.parameters]
    found = [(parameter.place(value), trial.value) for value, trial in known]
    return [(place, value) for place, value in found if place is not None]


def top_span(search: Search, parameter: SearchedParameter) -> tuple[float, float] | None:
    """Return the smallest and the largest value of the top trials; None where none has one."""
    found = [place for place, _ in places(search, parameter, top=True)]
    return (min(found), max(found)) if found else None


def choice_counts(search: Search, parameter: SearchedParameter) -> list[tuple[Value, int, int]]:
    """Return each choice, how many of the top trials took it, and how many of all."""
    top = [place for place, _ in places(search, parameter, top=True)]
    every = [place for place, _ in places(search, parameter)]
    return [(c, top.count(i), every.count(i)) for i, c in enumerate(parameter.choices)]


def crowded_end(search: Search, parameter: SearchedParameter) -> End | None:
    """Return the end of the searched range at which half of the top trials or more lie.

    An end is the outermost tenth of the range, on the logarithm where that was searched; of
    values with steps, and of numbers in a list, at least the outermost one. None also where
    there are too few trials to tell, or chance alone would put as many there once in a hundred
    times.
    """
    if not search.is_telling:
        return None
    spread, share = _spread(search, parameter), _share_of_end(parameter)
    at_low = sum(place <= EDGE + CLOSE for place in spread)
    at_high = sum(place >= 1 - EDGE - CLOSE for place in spread)
    if _is_crowd(at_low, len(spread), share):
        return "low"
    return "high" if _is_crowd(at_high, len(spread), share) else None


def _spread(search: Search, parameter: SearchedParameter) -> list[float]:
    """Return the places of the top trials from 0 to 1; none of what has no order."""
    found = [place for place, _ in places(search, parameter, top=True)]
    if parameter.choices:
        order = _numbers_in_order(parameter.choices)
        return [] if order is None else [order[int(p)] / (len(order) - 1) for p in found]
    low, high = (_scaled(parameter, end) for end in parameter.ends)
    return [(_scaled(parameter, place) - low) / (high - low) for place in found]


def _numbers_in_order(choices: Sequence[Value]) -> list[int] | None:
    """Return the rank of each choice by size; None where they are no numbers, or only two."""
    numbers = [c for c in choices if not isinstance(c, str | bool)]
    if len(numbers) < max(3, len(choices)):
        return None
    return [sorted(numbers).index(number) for number in numbers]


def _scaled(parameter: SearchedParameter, value: float) -> float:
    return math.log(value) if parameter.log else value


def _share_of_end(parameter: SearchedParameter) -> float:
    """Return how much of all values lies at an end."""
    if parameter.choices:
        n = len(parameter.choices)
    elif parameter.step:
        low, high = parameter.ends
        n = round((high - low) / parameter.step) + 1
    else:
        return EDGE
    return (math.floor(EDGE * (n - 1) + CLOSE) + 1) / n


def _is_crowd(n: int, of: int, share: float) -> bool:
    if n < LEAST or 2 * n < of:
        return False
    chance = sum(math.comb(of, i) * share**i * (1 - share) ** (of - i) for i in range(n, of + 1))
    return chance < CHANCE
