"""Say how far a figure may be off because these molecules were measured and not others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chemprop_hpo.hpo.evaluation.figures import log_losses, mean_of_defined
from chemprop_hpo.hpo.evaluation.labelled import labelled
from chemprop_hpo.hpo.evaluation.reliability import labelled_classes
from chemprop_hpo.hpo.evaluation.repeats import drawn_rows, numbered

Float64 = NDArray[np.float64]
Figure = Callable[[Float64, Float64], float]
Figures = Callable[[Float64, Float64], Mapping[str, float]]


@dataclass(frozen=True)
class Interval:
    """A figure of all rows and the ends of its percentile-bootstrap interval, NaN if undefined.

    After Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """

    value: float
    low: float
    high: float


def bootstrapped(
    figures: Figures,
    predictions: ArrayLike,
    labels: ArrayLike,
    *,
    molecules: ArrayLike | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Put an interval around each figure by drawing the molecules again, with replacement.

    Parameters
    ----------
    figures : callable
        `regression_figures` or `classification_figures`, or one like them: from predictions
        and labels, shape (n,), to figures by name.
    predictions, labels : array, shape (n,)
        Rows where one of them is NaN are left out.
    molecules : array, shape (n,), optional
        What is equal for rows of one molecule, such as canonical SMILES: they are drawn together
        (see `chemprop_hpo.hpo.evaluation.repeats`). Without it each row is drawn by itself.
    resamples : int
        How often the molecules are drawn. Draws where a figure is not defined do not count for it.
    level : float
        Confidence, between 0 and 1.
    seed : int
        The same seed gives the same interval.

    Raises
    ------
    ValueError
        If the shapes differ, or whatever ``figures`` finds wrong.
    """
    pair = labelled(predictions, labels)
    numbers = numbered(molecules, _complete(predictions, labels))
    values = figures(*pair)
    draws = [
        figures(*(side[rows] for side in pair)) for rows in drawn_rows(numbers, resamples, seed)
    ]
    return {
        name: percentile_interval(value, (draw[name] for draw in draws), level)
        for name, value in values.items()
    }


def macro_interval(
    figure: Figure,
    predictions: ArrayLike,
    labels: ArrayLike,
    *,
    molecules: ArrayLike | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Put an interval around the mean of a figure over several targets.

    Molecules are drawn with all their targets, whose errors go together.

    Parameters
    ----------
    figure : callable
        `relative_absolute_error`, `roc_auc`, or one like them: from predictions and labels,
        shape (n,) and without NaN, to a number, NaN where it is not defined.
    predictions, labels : array, shape (n, t)
        NaN where there is none. Targets whose figure is undefined do not count; neither do
        draws that leave another one undefined.
    molecules, resamples, level, seed
        As for `bootstrapped`.

    Raises
    ------
    ValueError
        If the shapes differ or a value is infinite.
    """
    predictions, labels = np.asarray(predictions, np.float64), np.asarray(labels, np.float64)
    if predictions.shape != labels.shape or labels.ndim != 2:
        raise ValueError(f"shapes {predictions.shape} and {labels.shape} are not one (n, t)")
    numbers = numbered(molecules, np.ones(len(labels), dtype=bool))
    values = _by_target(figure, predictions, labels)
    defined = ~np.isnan(values)
    pair = predictions[:, defined], labels[:, defined]
    draws = (
        float(_by_target(figure, pair[0][rows], pair[1][rows]).mean()) if defined.any() else np.nan
        for rows in drawn_rows(numbers, resamples, seed)
    )
    return percentile_interval(mean_of_defined(values), draws, level)


def paired_gain(
    first: ArrayLike,
    second: ArrayLike,
    labels: ArrayLike,
    *,
    molecules: ArrayLike | None = None,
    classification: bool = False,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Say by how much a second prediction of the same rows is better than a first.

    Parameters
    ----------
    first, second, labels : array, shape (n,)
        Rows where one of them is NaN are left out.
    classification : bool
        Compare log losses of probabilities, else RMSEs.
    molecules, resamples, level, seed
        As for `bootstrapped`; each draw takes the same rows of both.

    Returns
    -------
    Interval
        Loss of the first minus loss of the second: above zero the second is better.

    Raises
    ------
    ValueError
        If the shapes differ, a value is infinite, or a probability or class is none.
    """
    losses = _paired_losses(first, second, labels, classification)
    numbers = numbered(molecules, _complete(first, second, labels))
    draws = (_gain(losses[rows], classification) for rows in drawn_rows(numbers, resamples, seed))
    return percentile_interval(_gain(losses, classification), draws, level)


def _complete(*sides: ArrayLike) -> NDArray[np.bool_]:
    """Return which rows have a number on all sides."""
    columns = np.stack([np.asarray(side, np.float64) for side in sides])
    complete: NDArray[np.bool_] = np.logical_not(np.isnan(columns).any(axis=0))
    return complete


def percentile_interval(value: float, draws: Iterable[float], level: float) -> Interval:
    """Return the interval of those draws that are defined, NaN if none is or the value is not."""
    drawn = np.array([draw for draw in draws if not np.isnan(draw)])
    if np.isnan(value) or not len(drawn):
        return Interval(value, np.nan, np.nan)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def _by_target(figure: Figure, predictions: Float64, labels: Float64) -> Float64:
    pairs = (labelled(predictions[:, i], labels[:, i]) for i in range(labels.shape[1]))
    return np.array([figure(*pair) for pair in pairs], dtype=np.float64)


def _paired_losses(
    first: ArrayLike, second: ArrayLike, labels: ArrayLike, classification: bool
) -> Float64:
    """Return each row's loss under both, shape (m, 2)."""
    columns = np.stack([np.asarray(side, np.float64) for side in (first, second, labels)])
    *sides, there = columns[:, _complete(*columns)]
    if classification:
        losses = [log_losses(*labelled_classes(side, there)) for side in sides]
    else:
        losses = [np.square(np.subtract(*labelled(side, there))) for side in sides]
    return np.stack(losses, axis=1)


def _gain(losses: Float64, classification: bool) -> float:
    if not len(losses):
        return np.nan
    first, second = losses.mean(axis=0) if classification else np.sqrt(losses.mean(axis=0))
    return float(first - second)
