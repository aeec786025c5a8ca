"""Say how probable it is that one model is better than another on molecules like these."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chemprop_hpo.hpo.evaluation.bootstrap import Interval, percentile_interval
from chemprop_hpo.hpo.evaluation.redrawn import ErrorFigure, as_table, redrawn

__all__ = ["PairedGain", "paired_probability"]

ROUNDING = 1e-9
"""A gain below this part of the champion's figure is none."""


@dataclass(frozen=True)
class PairedGain:
    """What a paired bootstrap says of a candidate and a champion.

    Attributes
    ----------
    probability : float
        Share of the draws in which the candidate is better; a draw without a difference counts
        as half. NaN where no draw defines the figure.
    gain : Interval
        RMSE or MAE of the champion minus that of the candidate, or ROC-AUC of the candidate
        minus that of the champion: above zero the candidate is better.
    rows : int
        Those with a label that both models predict.
    """

    probability: float
    gain: Interval
    rows: int


def paired_probability(
    candidate: ArrayLike,
    champion: ArrayLike,
    labels: ArrayLike,
    figure: ErrorFigure = "rmse",
    *,
    molecules: ArrayLike | None = None,
    scales: ArrayLike | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> PairedGain:
    """Draw the test molecules again with replacement, and compare both models on each draw.

    The probability speaks of other molecules of the same kind, not of other trainings of the
    same configurations.

    Parameters
    ----------
    candidate, champion, labels : array, shape (n,) or (n, t)
        Both models' predictions of the same rows; NaN where there is none. A label counts
        where both models predict it. Molecules are drawn with all their targets.
    figure : {"rmse", "mae", "roc_auc"}
        What is compared; of several targets the mean, for which RMSE and MAE need ``scales``.
    molecules : array, shape (n,), optional
        What is equal for rows of one molecule, such as canonical SMILES: they are drawn together
        (see `chemprop_hpo.hpo.evaluation.repeats`). Without it each row is drawn by itself.
    scales : array, shape (t,), optional
        Standard deviation of each target's training labels, the same for both models.
    resamples : int
        Number of draws.
    level : float
        Confidence of the interval, between 0 and 1.
    seed : int
        The same seed gives the same answer.

    Raises
    ------
    ValueError
        If shapes differ, a value is infinite, a class is neither 0 nor 1, or scales are missing.
    """
    ours, theirs, labels = as_table(candidate), as_table(champion), as_table(labels)
    if not ours.shape == theirs.shape == labels.shape:
        raise ValueError(f"shapes {ours.shape}, {theirs.shape} and {labels.shape} differ")
    shared = np.where(np.isnan(ours) | np.isnan(theirs), np.nan, labels)
    (our_value, our_draws), (their_value, their_draws) = (
        redrawn(
            side,
            shared,
            figure,
            molecules=molecules,
            scales=scales,
            resamples=resamples,
            seed=seed,
        )
        for side in (ours, theirs)
    )
    sign = 1 if figure == "roc_auc" else -1
    gains = sign * (our_draws - their_draws)
    gain = percentile_interval(sign * (our_value - their_value), gains, level)
    rows = int((~np.isnan(shared)).any(axis=1).sum())
    return PairedGain(_share_above_zero(gains, abs(their_value)), gain, rows)


def _share_above_zero(gains: NDArray[np.float64], size: float) -> float:
    gains = gains[~np.isnan(gains)]
    if not len(gains):
        return np.nan
    ties = np.abs(gains) <= ROUNDING * size
    return float(np.where(ties, 0.5, gains > 0).mean())
