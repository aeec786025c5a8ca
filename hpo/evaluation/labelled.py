"""Pair predictions with labels, leaving out the rows that have not got both."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float64 = NDArray[np.float64]


def labelled(predictions: ArrayLike, labels: ArrayLike) -> tuple[Float64, Float64]:
    """Keep the rows that have both a prediction and a label.

    Parameters
    ----------
    predictions, labels : array, shape (n,)
        In the same units; NaN where there is none.

    Returns
    -------
    predictions, labels : float64 arrays, shape (m,), m <= n
        Without NaN, in the order of the rows.

    Raises
    ------
    ValueError
        If the shapes differ or are not one-dimensional, or if a value is infinite.
    """
    predictions, labels = _column(predictions, "predictions"), _column(labels, "labels")
    if len(predictions) != len(labels):
        raise ValueError(f"{len(predictions)} predictions cannot pair with {len(labels)} labels")
    there = ~(np.isnan(predictions) | np.isnan(labels))
    return predictions[there], labels[there]


def _column(values: ArrayLike, name: str) -> Float64:
    column: Float64 = np.asarray(values, dtype=np.float64)
    if column.ndim != 1:
        raise ValueError(f"{name} have the shape {column.shape}; one column was expected")
    if np.isinf(column).any():
        raise ValueError(f"{name} are not finite; nothing can be said about them")
    return column
