"""Draw a row of numbers as a line of characters."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

__all__ = ["sparkline"]

BLOCKS = "▁▂▃▄▅▆▇█"
PLAIN = "_.-=+*#@"


def sparkline(values: Iterable[float], width: int, *, blocks: bool = True) -> str:
    """Draw values as characters of growing height, from their lowest to their highest.

    Parameters
    ----------
    values : iterable of float
        What to draw, oldest first; infinite and missing values are left out.
    width : int
        Characters at most; more values than that are averaged in groups.
    blocks : bool
        Draw with Unicode blocks, or else with ASCII.
    """
    heights = _thinned([v for v in values if math.isfinite(v)], width)
    if not heights:
        return ""
    marks = BLOCKS if blocks else PLAIN
    low, span = min(heights), max(heights) - min(heights)
    scale = (len(marks) - 1) / span if span > 0 else 0.0
    return "".join(marks[round((height - low) * scale)] for height in heights)


def _thinned(values: list[float], width: int) -> list[float]:
    if len(values) <= width:
        return values
    edges = [i * len(values) // width for i in range(width + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
