"""Write numbers with as many digits as mean something."""

from __future__ import annotations

import math

from chemprop_hpo.hpo.evaluation.bootstrap import Interval

__all__ = ["NOTHING", "as_number", "as_percent", "as_value", "with_interval"]

NOTHING = "–"
"""Stands where a number is not defined or not known."""

MOST_DECIMALS = 6


def as_number(value: float | None, digits: int = 3) -> str:
    """Write a number that has no interval with so many significant digits."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        return _fixed(value, digits - 1 - _exponent(value))
    return f"{value:.{digits - 1}e}"


def with_interval(interval: Interval | None) -> tuple[str, str]:
    """Write a value and its interval, so that half the interval's width has two digits.

    Returns
    -------
    value, ends : str
        Such as ``0.612`` and ``[0.583, 0.640]``; ``ends`` is empty where there is no interval.
    """
    if interval is None:
        return NOTHING, ""
    ends = (interval.low, interval.high)
    if not all(math.isfinite(x) for x in (interval.value, *ends)) or ends[0] == ends[1]:
        return as_number(interval.value), ""
    half = abs(ends[1] - ends[0]) / 2
    if max(abs(interval.value), half) >= 1e6 or half < 10.0**-MOST_DECIMALS:
        low, high = (as_number(end) for end in ends)
        return as_number(interval.value), f"[{low}, {high}]"
    decimals = 1 - _exponent(half)
    low, high = (_fixed(end, decimals) for end in ends)
    return _fixed(interval.value, decimals), f"[{low}, {high}]"


def as_percent(share: float | None) -> str:
    """Write a share, from 0 to 1, in percent without decimals."""
    if share is None or not math.isfinite(share):
        return NOTHING
    return f"{100 * share:.0f} %"


def as_value(value: object) -> str:
    """Write a hyperparameter or any other value of a configuration."""
    if isinstance(value, float):
        return NOTHING if math.isnan(value) else f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(as_value(part) for part in value)
    return NOTHING if value is None else str(value)


def _fixed(value: float, decimals: int) -> str:
    text = f"{value:.{min(max(decimals, 0), MOST_DECIMALS)}f}"
    return text[1:] if text.startswith("-") and not float(text) else text


def _exponent(value: float) -> int:
    return math.floor(math.log10(abs(value))) if value else 0
