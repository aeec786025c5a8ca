"""Compare figures with bounds, with room for the rounding of floating-point numbers."""

from __future__ import annotations

import math

__all__ = ["at_least", "at_most", "least_fit"]

ROUNDING = 1e-9
"""Numbers that differ by less than this part of the larger one are equal."""


def at_most(figure: float, bound: float) -> bool:
    """Whether a figure does not exceed its bound; what lies on the bound does not."""
    return figure <= bound or math.isclose(figure, bound, rel_tol=ROUNDING)


def at_least(figure: float, bound: float) -> bool:
    """Whether a figure does not fall short of its bound; what lies on the bound does not."""
    return at_most(-figure, -bound)


def least_fit(best: float, tolerance: float) -> float:
    """Return the least R2 (or ROC-AUC) that still counts as close to the best.

    Parameters
    ----------
    best : float
        May be negative: what may be lacking is a share of its distance from zero, so that the
        bound always lies below the best, and very near to a best that is nearly zero.
    tolerance : float
        Share of the best that may be lacking.
    """
    return best - tolerance * abs(best)
