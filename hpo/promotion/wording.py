"""Write figures with enough digits to tell them from their bounds."""

from __future__ import annotations

from collections.abc import Callable

from chemprop_hpo.hpo.evaluation.bounds import at_least, at_most

__all__ = ["apart", "apart_percent"]

MOST_DIGITS = 12

PLAIN_BELOW = 1e6
"""Larger numbers are written with a power of ten."""


def apart(first: float, second: float, digits: int = 3) -> tuple[str, str]:
    """Write two numbers with so many significant digits, or more until they look different."""
    return _told_apart(first, second, digits, _number)


def apart_percent(first: float, second: float) -> tuple[str, str]:
    """Write two shares in percent so that they look different if they are."""
    return _told_apart(100 * first, 100 * second, 2, lambda value, n: f"{_number(value, n)} %")


def _told_apart(
    first: float, second: float, digits: int, written: Callable[[float, int], str]
) -> tuple[str, str]:
    equal = at_most(first, second) and at_least(first, second)
    for n in range(digits, digits if equal else MOST_DIGITS):
        pair = written(first, n), written(second, n)
        if pair[0] != pair[1]:
            return pair
    return written(first, digits), written(first if equal else second, digits)


def _number(value: float, digits: int) -> str:
    text = f"{value:.{digits}g}"
    return f"{value:.0f}" if "e+" in text and abs(value) < PLAIN_BELOW else text
