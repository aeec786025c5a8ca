"""Turn the spread of an ensemble into errors that can be expected, and say how often it held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit

from chemprop_hpo.configs.errors import DataError
from chemprop_hpo.hpo.evaluation.labelled import labelled

Float64 = NDArray[np.float64]

LEVELS = (80, 90, 95)
"""Shares of new molecules, in percent, for which there are prediction intervals."""

FEWEST_ROWS_TO_FIT = 10
"""Fewer residuals cannot tell a spread that means something from noise: the floor stands alone."""

LEAST_SPREAD = 1e-100
"""A smaller one is rounding and counts as zero: what would have to multiply it is no number."""

MOST_SPREAD = 1e100
"""Times the median; a wilder spread is taken for this one, whose square is still a number."""

SHARE_LOGITS = np.linspace(-9.2, 9.2, 93)
"""Where the floor's share of the variance is looked for, from 1e-4 to 1 - 1e-4."""


@dataclass(frozen=True)
class Calibration:
    """How far a target's predictions may be off, given the ensemble's spread.

    The expected error is ``sigma^2 = factor^2 std^2 + floor^2``, fitted by maximum likelihood
    of a normal distribution; an interval is ``prediction +- quantile * sigma``, the quantile
    that of split-conformal prediction with the score ``|residual| / sigma`` (Lei et al., J. Am.
    Stat. Assoc. 113, 1094 (2018), section 5.2; Angelopoulos and Bates, arXiv:2107.07511).
    Residuals are out-of-fold ones and also choose sigma's two numbers, so the promised
    coverage holds nearly, not exactly, and only for molecules like the training set's.

    Attributes
    ----------
    factor : float
        What the spread is multiplied with; NaN if there were no residuals.
    floor : float
        Standard deviation that is left where the spread is zero, in transformed units.
    quantiles : mapping of int to float
        By level in percent. A level is absent where there were fewer than
        ``level / (100 - level)`` residuals: no finite interval can promise it.
    """

    factor: float
    floor: float
    quantiles: Mapping[int, float]

    @classmethod
    def fit(cls, std: ArrayLike, residuals: ArrayLike) -> Calibration:
        """Calibrate on residuals of rows that the members had not been trained on.

        Parameters
        ----------
        std : array, shape (n,)
            Spread over the members, in transformed units; NaN, not known, counts as zero.
        residuals : array, shape (n,)
            Label minus prediction in the same units; rows with NaN are left out.

        Raises
        ------
        ValueError
            If the shapes differ, a residual is infinite or a spread is negative.
        """
        std, residuals = labelled(_known(std), residuals)
        factor, floor = _likeliest(std, residuals)
        scores = _in_sigmas(np.abs(residuals), np.hypot(factor * std, floor))
        return cls(factor, floor, _conformal_quantiles(scores))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Calibration:
        """Read what `to_json` gave.

        Raises
        ------
        DataError
            If an entry is missing or no number.
        """
        try:
            factor, floor = (_or_nan(values[name]) for name in ("factor", "floor"))
            quantiles = {int(level): float(x) for level, x in values["quantiles"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            message = f"calibration {values!r} cannot be read ({problem!r}); make it anew"
            raise DataError(message) from problem
        return cls(factor, floor, quantiles)

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict that JSON can hold; NaN becomes None, levels become strings."""
        return {
            "factor": _or_none(self.factor),
            "floor": _or_none(self.floor),
            "quantiles": {str(level): x for level, x in self.quantiles.items()},
        }

    @property
    def missing_levels(self) -> tuple[int, ...]:
        """Levels for which there were too few residuals."""
        return tuple(level for level in LEVELS if level not in self.quantiles)

    def sigma(self, std: ArrayLike) -> Float64:
        """Return the expected error, same shape and units as ``std``; NaN counts as zero."""
        sigma: Float64 = np.hypot(self.factor * _known(std), self.floor)
        return sigma

    def half_width(self, std: ArrayLike, level: int) -> Float64:
        """Return half the width of the intervals for a level in percent, NaN if it is missing."""
        return self.quantiles.get(level, np.nan) * self.sigma(std)


def coverage(
    predictions: ArrayLike, labels: ArrayLike, half_widths: ArrayLike
) -> tuple[float, int]:
    """Count how many labels lie within ``prediction +- half_width``.

    Parameters
    ----------
    predictions, labels, half_widths : array, shape (n,)
        In transformed units. Rows where one of them is NaN are left out.

    Returns
    -------
    share : float
        From 0 to 1, both ends of an interval included; NaN without rows.
    n : int
        Rows that were counted.
    """
    gaps = np.abs(np.subtract(labels, predictions, dtype=np.float64))
    gaps, half_widths = labelled(gaps, half_widths)
    # The residual that set a quantile lies on the end of its own interval, but for rounding.
    inside = gaps <= half_widths * (1 + 1e-12)
    return (float(inside.mean()) if len(inside) else np.nan), len(inside)


# ----------------------------------------------------------------------------- fit


def _known(std: ArrayLike) -> Float64:
    known: Float64 = np.nan_to_num(np.asarray(std, dtype=np.float64), nan=0.0)
    if (known < 0).any():
        raise ValueError("a standard deviation is negative")
    return np.where(known < LEAST_SPREAD, 0.0, known)


def _likeliest(std: Float64, residuals: Float64) -> tuple[float, float]:
    if not len(residuals):
        return np.nan, np.nan
    if len(residuals) < FEWEST_ROWS_TO_FIT or not std.any():
        return 0.0, _root_mean_square(residuals)
    scale = float(np.median(std[std > 0]))
    spread = np.square(np.minimum(std / scale, MOST_SPREAD))
    share = _floor_share(spread, residuals)
    total = _root_mean_square(residuals / np.sqrt(_shape(share, spread)))
    return total * np.sqrt(1 - share) / scale, total * np.sqrt(share)


def _floor_share(spread: Float64, residuals: Float64) -> float:
    """Return the floor's share of the variance of a row with the median spread."""

    # Given the share, the likeliest size of the variance is known, which leaves one unknown.
    def cost(logit: float) -> float:
        shape = _shape(float(expit(logit)), spread)
        size = _root_mean_square(residuals / np.sqrt(shape))
        return float(2 * np.log(size) + np.log(shape).mean())

    if not residuals.any():
        return 1.0
    best = SHARE_LOGITS[np.argmin([cost(logit) for logit in SHARE_LOGITS])]
    step = SHARE_LOGITS[1] - SHARE_LOGITS[0]
    refined = minimize_scalar(cost, bounds=(best - step, best + step), method="bounded")
    return float(expit(refined.x))


def _shape(share: float, spread: Float64) -> Float64:
    return (1 - share) * spread + share


def _root_mean_square(values: Float64) -> float:
    largest = float(np.abs(values).max())
    # Squares of wild residuals overflow, and those of tiny ones vanish.
    return largest * float(np.sqrt(np.square(values / largest).mean())) if largest else 0.0


# ----------------------------------------------------------------------------- quantiles


def _in_sigmas(errors: Float64, sigma: Float64) -> Float64:
    # sigma is zero only where all residuals were.
    return np.divide(errors, sigma, out=np.zeros_like(errors), where=sigma > 0)


def _conformal_quantiles(scores: Float64) -> dict[int, float]:
    ordered = np.sort(scores)
    ranks = {level: -(-(len(ordered) + 1) * level // 100) for level in LEVELS}
    return {
        level: float(ordered[rank - 1]) for level, rank in ranks.items() if rank <= len(ordered)
    }


# ----------------------------------------------------------------------------- JSON


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _or_nan(value: Any) -> float:
    return np.nan if value is None else float(value)
