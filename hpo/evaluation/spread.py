"""Put the outputs of an ensemble's members together: their mean, and how far they disagree."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float64 = NDArray[np.float64]


def mean_and_spread(outputs: ArrayLike, weights: ArrayLike) -> tuple[Float64, Float64]:
    """Return the weighted mean over members and their standard deviation, row by row.

    The standard deviation is the unbiased one of weighted samples, with ``1 - sum(w^2)`` in the
    place of ``(n - 1) / n``, so that it does not grow with the number of members: what few
    out-of-fold members say of the spread then holds for the many that predict.

    Parameters
    ----------
    outputs : array, shape (m, n)
        Of each member for each row; NaN where a member has nothing to say.
    weights : array, shape (m,) or (m, n)
        Not negative, one for all rows or one for each; those of the members that have an output
        are scaled to a sum of one.

    Returns
    -------
    mean, std : float64 arrays, shape (n,)
        NaN where no member with a weight has an output; ``std`` also where only one has. The mean
        lies between the members' lowest and highest output, rounding or not.
    """
    outputs = np.asarray(outputs, dtype=np.float64)
    weights = np.asarray(weights, dtype=np.float64)
    there = np.isfinite(outputs)
    shares = np.where(there, weights if weights.ndim == 2 else weights[:, None], 0.0)
    total = shares.sum(axis=0)
    shares = np.divide(shares, total, out=np.full_like(shares, np.nan), where=total > 0)
    lowest = np.where(there, outputs, np.inf).min(axis=0, initial=np.inf)
    highest = np.where(there, outputs, -np.inf).max(axis=0, initial=-np.inf)
    mean = (shares * np.where(there, outputs, 0.0)).sum(axis=0)
    mean = np.where(total > 0, np.clip(mean, lowest, highest), np.nan)
    squares = np.square(np.where(there, outputs - mean, 0.0))
    left = 1.0 - np.square(shares).sum(axis=0)
    several = (shares > 0).sum(axis=0) > 1
    variance = np.divide(
        (shares * squares).sum(axis=0), left, out=np.full_like(mean, np.nan), where=several
    )
    return mean, np.sqrt(variance)
