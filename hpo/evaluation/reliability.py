"""Compare predicted probabilities with how often the class was there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from chemprop_hpo.hpo.evaluation.labelled import labelled

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reliability:
    """A reliability curve: bins of equal width from 0 to 1, without the empty ones.

    Attributes
    ----------
    predicted : float64 array, shape (b,)
        Mean probability in each bin.
    observed : float64 array, shape (b,)
        Share of rows of class 1.
    low, high : float64 arrays, shape (b,)
        Its 95 % interval after Wilson.
    count : int64 array, shape (b,)
        Rows in each bin.
    """

    predicted: Float64
    observed: Float64
    low: Float64
    high: Float64
    count: NDArray[np.int64]


def reliability(probabilities: ArrayLike, labels: ArrayLike, bins: int = 10) -> Reliability:
    """Compare mean probability and observed share of class 1, bin by bin.

    Parameters
    ----------
    probabilities : array, shape (n,)
        Of class 1. Rows with NaN, here or in the labels, are left out.
    labels : array, shape (n,)
        0 or 1.
    bins : int
        How many parts the interval from 0 to 1 is cut into.

    Raises
    ------
    ValueError
        If a probability lies outside 0 to 1, a label is neither 0 nor 1, or shapes differ.
    """
    probabilities, labels = labelled_classes(probabilities, labels)
    bin_of = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    count = np.bincount(bin_of, minlength=bins)
    filled = count > 0
    count, hits = count[filled], np.bincount(bin_of, labels, minlength=bins)[filled]
    predicted = np.bincount(bin_of, probabilities, minlength=bins)[filled] / count
    return Reliability(predicted, hits / count, *wilson_interval(hits, count), count)


def expected_calibration_error(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = 10
) -> float:
    """Return the mean distance of the reliability curve from the diagonal, weighted by rows.

    After Naeini et al., AAAI 29, 2901 (2015); NaN without rows. Parameters and errors are
    those of `reliability`.
    """
    curve = reliability(probabilities, labels, bins)
    if not len(curve.count):
        return np.nan
    return float(np.average(np.abs(curve.observed - curve.predicted), weights=curve.count))


def wilson_interval(
    hits: ArrayLike, counts: ArrayLike, level: float = 0.95
) -> tuple[Float64, Float64]:
    """Return both ends of the interval of a share (Wilson, J. Am. Stat. Assoc. 22, 209 (1927)).

    Parameters
    ----------
    hits, counts : array
        Successes among trials, of one shape; NaN comes back where there was no trial.
    level : float
        Confidence, between 0 and 1.
    """
    counts = np.asarray(counts, dtype=np.float64)
    trials = np.where(counts > 0, counts, np.nan)
    share, z2 = np.asarray(hits) / trials, ndtri((1 + level) / 2) ** 2
    centre = share + z2 / (2 * trials)
    margin = np.sqrt(z2 * (share * (1 - share) / trials + z2 / (4 * trials**2)))
    shrink = 1 + z2 / trials
    return np.clip((centre - margin) / shrink, 0, 1), np.clip((centre + margin) / shrink, 0, 1)


def labelled_classes(probabilities: ArrayLike, labels: ArrayLike) -> tuple[Float64, Float64]:
    """Keep the rows that have both, as `labelled` does, and check that they are what they say."""
    probabilities, labels = labelled(probabilities, labels)
    if ((probabilities < 0) | (probabilities > 1)).any():
        raise ValueError("a probability lies outside 0 to 1; apply the sigmoid to logits first")
    if not np.isin(labels, (0.0, 1.0)).all():
        raise ValueError("a label is neither 0 nor 1")
    return probabilities, labels
