"""The levels of prediction intervals: which are there, and which is drawn."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["DRAWN_FIRST", "level_shown"]

DRAWN_FIRST = 90


def level_shown(half_widths: Mapping[int, NDArray[np.float64]]) -> int | None:
    """Return the level (percent) that pictures show: 90, else the widest there is, else None."""
    there = [level for level, half in half_widths.items() if np.isfinite(half).any()]
    return DRAWN_FIRST if DRAWN_FIRST in there else max(there, default=None)
