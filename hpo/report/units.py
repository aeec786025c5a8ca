"""Label axes in the units that people measure in, also where a transform is drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from chemprop_hpo.configs.schema import Transform
from chemprop_hpo.hpo.report.content import Target

__all__ = ["ENOUGH_TICKS", "error_unit", "mark_original_units", "measured_in", "ticks"]

ENOUGH_TICKS = 4

Tick = tuple[float, str]

_SCALES = {"none": "", "log10": "log scale", "log10p1": "log(x + 1) scale"}
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def measured_in(what: str, target: Target) -> str:
    """Return an axis label such as ``Observed (µM, log scale)``."""
    inside = ", ".join(part for part in (target.unit, _SCALES[target.transform]) if part)
    return f"{what} ({inside})" if inside else what


def error_unit(target: Target) -> str:
    """Return the unit of an error in transformed units, empty where none is known."""
    value = target.unit or "value"
    if target.transform == "log10":
        return f"log₁₀ {value}"
    if target.transform == "log10p1":
        return f"log₁₀({value}\u00a0+\u00a01)"
    return target.unit


def mark_original_units(
    axis: Axis, transform: Transform, low: float, high: float, *, narrow: bool = False
) -> None:
    """Put ticks on an axis that runs over transformed values, and label them in original units.

    Parameters
    ----------
    low, high : float
        The ends of the axis.
    narrow : bool
        Whether there is room for a few ticks only.
    """
    if transform == "none":
        axis.set_major_locator(MaxNLocator(3 if narrow else 5))
        return
    marks = ticks(transform, low, high)
    if narrow:
        marks = marks[:: -(-len(marks) // ENOUGH_TICKS)]
    axis.set_major_locator(FixedLocator([place for place, _ in marks]))
    axis.set_minor_locator(NullLocator())
    axis.set_ticklabels([label for _, label in marks])


def ticks(transform: Transform, low: float, high: float) -> list[Tick]:
    """Return places between two transformed values, and the original values to write there.

    Powers of ten first, then 3, 2 and 5 times them until there are enough; over a range too
    short for these, round values in equal steps.
    """
    chosen: list[float] = []
    for level in _round_values(transform, low, high):
        chosen += _apart(level, chosen, transform, low, high)
        if len(chosen) >= ENOUGH_TICKS:
            break
    if len(chosen) < ENOUGH_TICKS - 1:
        chosen = _equal_steps(transform, low, high)
    return [(_place(value, transform), _written(value)) for value in sorted(chosen)]


def _round_values(transform: Transform, low: float, high: float) -> Iterator[list[float]]:
    decades = range(math.floor(max(low, -300)) - 1, math.ceil(min(high, 300)) + 1)
    if transform == "log10p1":
        decades = range(decades.stop)
    step = max(1, len(decades) // 7)
    whole = [10.0**e for e in decades if e % step == 0]
    yield [0.0, *whole] if transform == "log10p1" else whole
    yield [3 * 10.0**e for e in decades]
    yield [m * 10.0**e for e in decades for m in (2, 5)]


def _apart(
    values: Iterable[float], taken: list[float], transform: Transform, low: float, high: float
) -> list[float]:
    """Keep the values that are in range and whose labels would not touch."""
    places, kept = [_place(value, transform) for value in taken], []
    for value in values:
        place = _place(value, transform)
        near = any(abs(place - other) < (high - low) / 9 for other in places)
        if low <= place <= high and not near:
            places.append(place)
            kept.append(value)
    return kept


def _equal_steps(transform: Transform, low: float, high: float) -> list[float]:
    ends = [10.0**low, 10.0**high] if transform == "log10" else [10.0**low - 1, 10.0**high - 1]
    values = MaxNLocator(ENOUGH_TICKS).tick_values(*ends)
    smallest = 0.0 if transform == "log10" else -1.0
    inside = [float(v) for v in values if v > smallest]
    return [v for v in inside if low <= _place(v, transform) <= high]


def _place(value: float, transform: Transform) -> float:
    return float(np.log10(value + 1 if transform == "log10p1" else value))


def _written(value: float) -> str:
    if value == 0 or 1e-4 <= abs(value) < 1e4:
        return f"{value:.6g}"
    mantissa, exponent = f"{value:.3e}".split("e")
    power = "10" + str(int(exponent)).translate(_SUPERSCRIPTS)
    return power if float(mantissa) == 1 else f"{float(mantissa):g}·{power}"
