"""Score predictions of one target, or of several by one number."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kendalltau, rankdata

from chemprop_hpo.hpo.evaluation.labelled import labelled
from chemprop_hpo.hpo.evaluation.reliability import labelled_classes

Float64 = NDArray[np.float64]

SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)
"""Probabilities are kept this far from 0 and 1, so that one wrong certainty costs no infinity."""


def regression_figures(predictions: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """Score predictions of a continuous target.

    Parameters
    ----------
    predictions, labels : array, shape (n,)
        In the same units, which are those of RMSE and MAE. Rows with NaN are left out.

    Returns
    -------
    dict of str to float
        ``rmse``, ``mae``, ``r2`` (1 - residual / total sum of squares), ``pearson``,
        ``spearman``, ``kendall`` (tau-b) and ``rae`` (sum of absolute errors over that of the
        mean label). NaN is a figure that the rows do not define: all of none, R2 and RAE of
        labels that are all equal, a correlation where either side is.

    Raises
    ------
    ValueError
        If the shapes differ or a value is infinite.
    """
    pair = labelled(predictions, labels)
    return {
        "rmse": _rmse(*pair),
        "mae": _mae(*pair),
        "r2": _r2(*pair),
        "pearson": _pearson(*pair),
        "spearman": _pearson(*(rankdata(side) for side in pair)),
        "kendall": _kendall(*pair),
        "rae": relative_absolute_error(*pair),
    }


def classification_figures(probabilities: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """Score probabilities of class 1.

    Parameters
    ----------
    probabilities : array, shape (n,)
        From 0 to 1. Rows with NaN, here or in the labels, are left out.
    labels : array, shape (n,)
        0 or 1.

    Returns
    -------
    dict of str to float
        ``roc_auc``, ``prc_auc`` (area under the precision-recall curve, by trapezoids),
        ``brier`` (mean squared error) and ``log_loss`` (natural logarithm). NaN is a figure
        that the rows do not define: all of none, the areas where a class is missing.

    Raises
    ------
    ValueError
        If a probability lies outside 0 to 1, a label is neither 0 nor 1, or shapes differ.
    """
    pair = labelled_classes(probabilities, labels)
    return {
        "roc_auc": roc_auc(*pair),
        "prc_auc": _prc_auc(*pair),
        "brier": float(np.square(pair[0] - pair[1]).mean()) if len(pair[0]) else np.nan,
        "log_loss": float(log_losses(*pair).mean()) if len(pair[0]) else np.nan,
    }


def relative_absolute_error(predictions: Float64, labels: Float64) -> float:
    """Return the ``rae`` of `regression_figures` alone, without NaN in what comes in."""
    if _constant(labels):
        return np.nan
    return float(np.abs(labels - predictions).sum() / np.abs(labels - labels.mean()).sum())


def roc_auc(probabilities: Float64, labels: Float64) -> float:
    """Return the ``roc_auc`` of `classification_figures` alone, without NaN in what comes in.

    It is the share of pairs of both classes in the right order (Mann-Whitney's U).
    """
    positives = labels.sum()
    pairs = positives * (len(labels) - positives)
    if not pairs:
        return np.nan
    above = rankdata(probabilities)[labels == 1].sum() - positives * (positives + 1) / 2
    return float(above / pairs)


def mean_of_defined(figures: Iterable[float]) -> float:
    """Return the mean of the targets' figures over those that are defined, NaN if none is."""
    defined = [figure for figure in figures if not np.isnan(figure)]
    return float(np.mean(defined)) if defined else np.nan


def log_losses(probabilities: Float64, labels: Float64) -> Float64:
    """Return each row's cross-entropy in nats, without NaN in what comes in."""
    kept = np.clip(probabilities, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    losses: Float64 = -np.log(np.where(labels == 1, kept, 1 - kept))
    return losses


# ----------------------------------------------------------------------------- regression


def _rmse(predictions: Float64, labels: Float64) -> float:
    return float(np.sqrt(np.square(predictions - labels).mean())) if len(labels) else np.nan


def _mae(predictions: Float64, labels: Float64) -> float:
    return float(np.abs(predictions - labels).mean()) if len(labels) else np.nan


def _r2(predictions: Float64, labels: Float64) -> float:
    if _constant(labels):
        return np.nan
    centred, residuals = labels - labels.mean(), labels - predictions
    scale = np.abs(centred).max()  # the squares of very small differences are zero
    return float(1 - np.square(residuals / scale).sum() / np.square(centred / scale).sum())


def _pearson(predictions: Float64, labels: Float64) -> float:
    if _constant(predictions) or _constant(labels):
        return np.nan
    sides = [_unit_vector(side) for side in (predictions, labels)]
    return float(np.clip(sides[0] @ sides[1], -1, 1))


def _kendall(predictions: Float64, labels: Float64) -> float:
    if _constant(predictions) or _constant(labels):
        return np.nan
    return float(kendalltau(predictions, labels).statistic)


def _unit_vector(side: Float64) -> Float64:
    centred = side - side.mean()
    centred /= np.abs(centred).max()  # as above
    unit: Float64 = centred / np.sqrt(centred @ centred)
    return unit


def _constant(values: Float64) -> bool:
    return len(values) == 0 or bool((values == values[0]).all())


# ----------------------------------------------------------------------------- classification


def _prc_auc(probabilities: Float64, labels: Float64) -> float:
    if _constant(labels):
        return np.nan
    order = np.argsort(-probabilities, kind="stable")
    last_of_ties = np.flatnonzero(np.append(np.diff(probabilities[order]), 1))
    hits = np.cumsum(labels[order])[last_of_ties]
    # The curve begins at recall 0 with precision 1.
    recall = np.append(0, hits / hits[-1])
    precision = np.append(1, hits / (last_of_ties + 1))
    return float(np.trapezoid(precision, recall))
