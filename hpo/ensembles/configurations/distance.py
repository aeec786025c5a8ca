"""Measure how far two configurations are from each other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from chemprop_hpo.configs.parameters import Choice, Fixed, IntRange, LogUniform, Parameter, Uniform

__all__ = ["distance"]


def distance(
    one: Mapping[str, Any], other: Mapping[str, Any], space: Mapping[str, Parameter]
) -> float:
    """Return the mean difference over the parameters that either configuration has.

    Parameters
    ----------
    one, other : mapping
        Hyperparameters by name.
    space : mapping
        The searched parameters. A number's difference is its share of the range, on the
        logarithm where it is searched there.

    Returns
    -------
    float
        From 0, the same, to 1. A parameter that only one of them has counts as 1, as does
        another choice: Gower's coefficient (Biometrics 27, 857, 1971). One that had to be the
        same, since it is fixed or its range holds one value, does not count.
    """
    names = [name for name in space if _counts(one.get(name), other.get(name), space[name])]
    if not names:
        return 0.0
    return sum(_difference(one.get(n), other.get(n), space[n]) for n in names) / len(names)


def _counts(one: Any, other: Any, parameter: Parameter) -> bool:
    # Values of a range that was narrowed to one may still differ.
    return one != other or (one is not None and not _has_one_value(parameter))


def _has_one_value(parameter: Parameter) -> bool:
    if isinstance(parameter, Choice):
        return len(parameter.choices) == 1
    return isinstance(parameter, Fixed) or parameter.low == parameter.high


def _difference(one: Any, other: Any, parameter: Parameter) -> float:
    if one is None or other is None or isinstance(parameter, Choice | Fixed):
        return float(one != other)
    if _has_one_value(parameter):
        return 1.0
    place = _Place(parameter)
    return min(1.0, abs(place(one) - place(other)))


class _Place:
    """Where in its range a number lies, from 0 to 1."""

    def __init__(self, parameter: Uniform | LogUniform | IntRange) -> None:
        self._scale = math.log if isinstance(parameter, LogUniform) else float
        self._low, self._high = self._scale(parameter.low), self._scale(parameter.high)

    def __call__(self, value: float) -> float:
        return (self._scale(value) - self._low) / (self._high - self._low)
