"""Compute one figure of a model again and again on molecules drawn with replacement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chemprop_hpo.hpo.evaluation.bootstrap import Interval, percentile_interval
from chemprop_hpo.hpo.evaluation.repeats import drawn_counts, numbered

__all__ = ["ErrorFigure", "as_table", "redrawn", "redrawn_interval"]

ErrorFigure = Literal["rmse", "mae", "roc_auc"]

Float64 = NDArray[np.float64]
OfDraws = Callable[[Float64], Float64]
"""From how often each row was drawn, shape (d, n), to the figure of each draw, shape (d,)."""

CHUNK = 2_000_000
"""Numbers that are held at once, so that many rows need little memory."""


def redrawn_interval(
    predictions: ArrayLike,
    labels: ArrayLike,
    figure: ErrorFigure = "rmse",
    *,
    molecules: ArrayLike | None = None,
    scales: ArrayLike | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Put a percentile-bootstrap interval around one figure, the mean over several targets.

    Parameters
    ----------
    predictions, labels, figure, molecules, scales, resamples, seed
        As for `redrawn`.
    level : float
        Confidence, between 0 and 1.

    Raises
    ------
    ValueError
        As `redrawn`.
    """
    value, draws = redrawn(
        predictions,
        labels,
        figure,
        molecules=molecules,
        scales=scales,
        resamples=resamples,
        seed=seed,
    )
    return percentile_interval(value, draws, level)


def redrawn(
    predictions: ArrayLike,
    labels: ArrayLike,
    figure: ErrorFigure,
    *,
    molecules: ArrayLike | None = None,
    scales: ArrayLike | None,
    resamples: int,
    seed: int,
) -> tuple[float, Float64]:
    """Return a figure of all rows, and of each draw.

    Molecules are drawn with all their targets, whose errors go together. The same seed and
    molecules give the same draws, so that two models can be compared pair by pair (Efron and
    Tibshirani, An Introduction to the Bootstrap (1993), chapter 13).

    Parameters
    ----------
    predictions, labels : array, shape (n,) or (n, t)
        In one unit, or probabilities and classes 0 and 1; NaN where there is none.
    figure : {"rmse", "mae", "roc_auc"}
    molecules : array, shape (n,), optional
        What is equal for rows of one molecule, such as canonical SMILES: they are drawn together
        (see `chemprop_hpo.hpo.evaluation.repeats`). Without it each row is drawn by itself.
    scales : array, shape (t,), optional
        What each target's RMSE or MAE is divided by; needed where there are several targets.
    resamples : int
        Number of draws.
    seed : int

    Returns
    -------
    value : float
        NaN if no target has rows that define it. A target that has none does not count.
    draws : float64 array, shape (resamples,)
        NaN where a draw leaves a target undefined that all rows define.

    Raises
    ------
    ValueError
        If shapes differ, a value is infinite, a class is none, or scales are missing or wrong.
    """
    columns = _figures(as_table(predictions), as_table(labels), figure, scales)
    n_rows = len(as_table(labels))
    numbers = numbered(molecules, np.ones(n_rows, dtype=bool))
    everything = np.ones((1, n_rows))
    defined = [column for column in columns if n_rows and np.isfinite(column(everything)[0])]
    if not defined:
        return np.nan, np.full(resamples, np.nan)
    drawn = [_mean(defined, counts) for counts in _counts(numbers, resamples, seed)]
    return float(_mean(defined, everything)[0]), np.concatenate([[], *drawn])


def as_table(values: ArrayLike) -> Float64:
    """Return values with a column for each target.

    Raises
    ------
    ValueError
        If they are neither one column nor a table, or if one is infinite.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim == 1:
        table = table[:, None]
    if table.ndim != 2:
        raise ValueError(f"values have the shape {table.shape}; (n,) or (n, t) was expected")
    if np.isinf(table).any():
        raise ValueError("values are not finite; nothing can be said about them")
    return table


def _mean(columns: list[OfDraws], counts: Float64) -> Float64:
    mean: Float64 = np.stack([column(counts) for column in columns]).mean(axis=0)
    return mean


def _counts(numbers: NDArray[np.int64], resamples: int, seed: int) -> Iterator[Float64]:
    """Yield how often each row is drawn, some draws at a time."""
    counts = drawn_counts(numbers, resamples, seed)
    at_once = max(1, CHUNK // len(numbers))
    while drawn := list(islice(counts, at_once)):
        yield np.array(drawn, dtype=np.float64)


def _figures(
    predictions: Float64, labels: Float64, figure: ErrorFigure, scales: ArrayLike | None
) -> list[OfDraws]:
    if predictions.shape != labels.shape:
        raise ValueError(f"shapes {predictions.shape} and {labels.shape} differ")
    columns = [(predictions[:, i], labels[:, i]) for i in range(labels.shape[1])]
    if figure == "roc_auc":
        return [_roc_auc(*column) for column in columns]
    divisors = _checked_scales(scales, len(columns))
    return [_error(*column, figure, scale) for column, scale in zip(columns, divisors, strict=True)]


def _checked_scales(scales: ArrayLike | None, n_targets: int) -> Float64:
    if scales is None and n_targets > 1:
        raise ValueError(f"{n_targets} targets need scales, or their units would be mixed")
    checked: Float64 = np.ones(n_targets) if scales is None else np.asarray(scales, np.float64)
    if checked.shape != (n_targets,) or not (np.isfinite(checked) & (checked > 0)).all():
        raise ValueError(f"scales are not {n_targets} positive numbers")
    return checked


def _error(predictions: Float64, labels: Float64, figure: ErrorFigure, scale: float) -> OfDraws:
    errors = (predictions - labels) / scale
    there = (~np.isnan(errors)).astype(np.float64)
    losses = np.nan_to_num(np.square(errors) if figure == "rmse" else np.abs(errors))

    def of_draws(counts: Float64) -> Float64:
        mean = _divided(counts @ losses, counts @ there)
        return np.sqrt(mean) if figure == "rmse" else mean

    return of_draws


def _roc_auc(probabilities: Float64, classes: Float64) -> OfDraws:
    """Count the pairs of both classes in the right order, ties as half a pair."""
    rows = np.flatnonzero(~(np.isnan(probabilities) | np.isnan(classes)))
    if not np.isin(classes[rows], (0.0, 1.0)).all():
        raise ValueError("a label is neither 0 nor 1")
    order = rows[np.argsort(probabilities[rows], kind="stable")]
    first_of_ties = np.flatnonzero(np.diff(probabilities[order], prepend=-np.inf))
    positive = classes[order]

    def of_draws(counts: Float64) -> Float64:
        if not len(order):
            return np.full(len(counts), np.nan)
        drawn = counts[:, order]
        hits = np.add.reduceat(drawn * positive, first_of_ties, axis=1)
        misses = np.add.reduceat(drawn * (1 - positive), first_of_ties, axis=1)
        misses_below = np.cumsum(misses, axis=1) - misses / 2
        pairs = hits.sum(axis=1) * misses.sum(axis=1)
        return _divided((hits * misses_below).sum(axis=1), pairs)

    return of_draws


def _divided(sums: Float64, counts: Float64) -> Float64:
    shares: Float64 = np.full(len(sums), np.nan)
    return np.divide(sums, counts, out=shares, where=counts > 0)
