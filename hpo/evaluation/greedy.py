"""Weigh predictions of the same rows, where that is better than their plain mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chemprop_hpo.hpo.evaluation.bootstrap import Interval, paired_gain
from chemprop_hpo.hpo.evaluation.figures import log_losses
from chemprop_hpo.hpo.evaluation.labelled import labelled
from chemprop_hpo.hpo.evaluation.reliability import labelled_classes
from chemprop_hpo.hpo.evaluation.repeats import numbered

Float64 = NDArray[np.float64]

PARTS = 5
"""Weights are judged on each of so many parts of the molecules after being found on the others."""

FEWEST_MOLECULES_TO_CHOOSE = 4 * PARTS
"""Below this the plain mean stays: no interval of so few could speak against it."""

LEAST_GAIN = 1e-9
"""A gain below this part of the mean's loss is rounding."""


@dataclass(frozen=True, eq=False)
class Combination:
    """How the predictions of one target are combined.

    Attributes
    ----------
    weights : float64 array, shape (m,)
        Of the columns; they sum to one. Equal if the plain mean is used.
    gain : Interval
        RMSE or log loss of the plain mean minus that of greedy weights, on rows that the
        weights were not chosen on; NaN where there was nothing to choose.
    used : str
        ``greedy`` where the interval lies above zero, else ``mean``.
    row_weights : float64 array, shape (n, m)
        Of each row, weights that its molecule's labels had no part in finding: where ``used`` is
        ``greedy``, those found on the other parts. Only figures by these are out of fold.
    """

    weights: Float64
    gain: Interval
    used: Literal["mean", "greedy"]
    row_weights: Float64


def choose_weights(
    columns: ArrayLike,
    labels: ArrayLike,
    *,
    molecules: ArrayLike | None = None,
    classification: bool = False,
    seed: int = 0,
) -> Combination:
    """Take greedy weights if they are surely better than the plain mean, else the mean.

    The molecules are cut into five parts at random, each with all its rows; each part is
    predicted with the weights found on the other four. Greedy weights are used where the 95 %
    bootstrap interval of the gain of these predictions over the plain mean lies above zero. One
    column, or fewer than 20 molecules, leave the mean.

    Parameters
    ----------
    columns : array, shape (n, m)
        A prediction of each row in each column, out-of-fold; in transformed units, or
        probabilities of class 1. Rows where a column or the label is NaN are left out.
    labels : array, shape (n,)
        In the same units, or 0 and 1.
    molecules : array, shape (n,), optional
        What is equal for rows of one molecule, such as canonical SMILES. Without it each row
        counts as a molecule of its own.
    classification : bool
        Minimise the log loss, else the RMSE.
    seed : int
        Of parts, ties and bootstrap.

    Raises
    ------
    ValueError
        If there is no column, shapes differ, a value is infinite, or a probability or class
        is none.
    """
    columns, labels, there = _complete_rows(columns, labels, classification)
    numbers = numbered(molecules, there)
    n_columns = columns.shape[1]
    mean = _equal_weights(n_columns)
    if n_columns == 1 or len(np.unique(numbers)) < FEWEST_MOLECULES_TO_CHOOSE:
        return _plain_mean(mean, len(there), Interval(np.nan, np.nan, np.nan))
    held_out = _held_out_weights(columns, labels, numbers, classification, seed)
    honest = _combined(columns, held_out, classification)
    plain = _combined(columns, mean, classification)
    gain = paired_gain(
        plain, honest, labels, molecules=numbers, classification=classification, seed=seed
    )
    if not gain.low > LEAST_GAIN * _loss(plain[:, None], labels, classification)[0]:
        return _plain_mean(mean, len(there), gain)
    greedy = greedy_weights(columns, labels, classification=classification, seed=seed)
    row_weights = np.tile(greedy, (len(there), 1))
    row_weights[there] = held_out
    return Combination(greedy, gain, "greedy", row_weights)


def greedy_weights(
    columns: ArrayLike,
    labels: ArrayLike,
    *,
    classification: bool = False,
    rounds: int = 50,
    seed: int = 0,
) -> Float64:
    """Choose columns one after the other, each time the one that the mean gains most from.

    Ensemble selection with replacement (Caruana et al., ICML 2004, sections 2 and 2.1): a
    column's weight is how often it was chosen up to the round with the lowest loss.

    Parameters
    ----------
    columns, labels, classification
        As for `choose_weights`; the weights are found and the loss is measured on all rows.
    rounds : int
        How many columns are chosen at most, one and the same as often as it helps.
    seed : int
        Between columns that serve equally well a draw decides.

    Returns
    -------
    float64 array, shape (m,)
        Weights that sum to one; equal ones without rows.

    Raises
    ------
    ValueError
        As `choose_weights`.
    """
    columns, labels, _ = _complete_rows(columns, labels, classification)
    if not len(labels):
        return _equal_weights(columns.shape[1])
    chosen, losses = _selection(columns, labels, classification, rounds, seed)
    kept = chosen[: int(np.argmin(losses)) + 1]
    return np.bincount(kept, minlength=columns.shape[1]) / len(kept)


def _selection(
    columns: Float64, labels: Float64, classification: bool, rounds: int, seed: int
) -> tuple[list[int], list[float]]:
    """Return the column chosen in each round and the loss after it."""
    random = np.random.default_rng(seed)
    total = np.zeros(len(labels))
    chosen: list[int] = []
    losses: list[float] = []
    for n_chosen in range(1, rounds + 1):
        candidates = _loss((total[:, None] + columns) / n_chosen, labels, classification)
        best = int(random.choice(np.flatnonzero(candidates == candidates.min())))
        total += columns[:, best]
        chosen.append(best)
        losses.append(float(candidates[best]))
    return chosen, losses


def _plain_mean(weights: Float64, n_rows: int, gain: Interval) -> Combination:
    return Combination(weights, gain, "mean", np.tile(weights, (n_rows, 1)))


def _held_out_weights(
    columns: Float64,
    labels: Float64,
    numbers: NDArray[np.int64],
    classification: bool,
    seed: int,
) -> Float64:
    """Return each row's weights, shape (n, m), found on the parts that it is not in."""
    n_molecules = len(np.unique(numbers))
    part_of = (np.random.default_rng(seed).permutation(n_molecules) % PARTS)[numbers]
    weights = np.empty_like(columns)
    for part in range(PARTS):
        held_out = part_of == part
        weights[held_out] = greedy_weights(
            columns[~held_out], labels[~held_out], classification=classification, seed=seed
        )
    return weights


def _combined(columns: Float64, weights: Float64, classification: bool) -> Float64:
    combined: Float64 = (columns * weights).sum(axis=1)
    # A mean of probabilities may exceed one by rounding.
    return np.clip(combined, 0, 1) if classification else combined


def _loss(columns: Float64, labels: Float64, classification: bool) -> Float64:
    """Return the loss of each column, shape (m,)."""
    if classification:
        losses: Float64 = log_losses(columns, labels[:, None]).mean(axis=0)
        return losses
    rmse: Float64 = np.sqrt(np.square(columns - labels[:, None]).mean(axis=0))
    return rmse


def _complete_rows(
    columns: ArrayLike, labels: ArrayLike, classification: bool
) -> tuple[Float64, Float64, NDArray[np.bool_]]:
    """Return columns and labels of the complete rows, and which these are."""
    columns, labels = np.asarray(columns, np.float64), np.asarray(labels, np.float64)
    if columns.ndim != 2 or not columns.shape[1] or labels.shape != columns.shape[:1]:
        raise ValueError(f"shapes {columns.shape} and {labels.shape} are not (n, m) and (n,)")
    there = ~(np.isnan(columns).any(axis=1) | np.isnan(labels))
    check = labelled_classes if classification else labelled
    for i in range(columns.shape[1]):
        check(columns[there, i], labels[there])
    return columns[there], labels[there], there


def _equal_weights(n_columns: int) -> Float64:
    return np.full(n_columns, 1 / n_columns)
