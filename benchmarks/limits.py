"""Limits of what is measured: a benchmark that misses one says so and ends with exit code 1."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Figure(NamedTuple):
    """What was measured, and the most that it may be."""

    name: str
    value: float
    limit: float


def exit_code(figures: Iterable[Figure]) -> int:
    """Name the figures that are over their limits, and return a program's exit code."""
    missed = [figure for figure in figures if not figure.value <= figure.limit]
    for figure in missed:
        print(f"MISSED: {figure.name}: {figure.value:.3g}; the limit is {figure.limit:.3g}")
    return 1 if missed else 0
