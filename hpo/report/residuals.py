"""Errors on test molecules, by how much these resemble the training set."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from chemprop_hpo.hpo.report.content import Judged, Target
from chemprop_hpo.hpo.report.drawing import (
    GREY,
    INK,
    TEST,
    Picture,
    Style,
    finished,
    in_lines,
    panels,
)
from chemprop_hpo.hpo.report.parity import marker
from chemprop_hpo.hpo.report.units import error_unit

__all__ = ["draw_residuals"]

Float64 = NDArray[np.float64]

FEWEST_IN_BIN = 15
MOST_BINS = 8


def draw_residuals(
    target: Target, judged: Judged | None, ensemble: str, file: str
) -> Picture | None:
    """Draw predicted minus observed against similarity to the nearest training molecule.

    Returns None where there is no test data, or its similarity is not known.
    """
    if judged is None or judged.similarity is None:
        return None
    errors = judged.mean - judged.labels
    known = np.isfinite(errors) & np.isfinite(judged.similarity)
    if not known.any():
        return None
    similarity, errors = judged.similarity[known], errors[known]
    figure, (axis,) = panels(1, 1, width=6.9, height=2.6)
    binned = _draw(axis, similarity, errors, target)
    axis.set_title(in_lines(f"{target.name}, test (n = {len(errors)})", 6))
    alt = f"Residuals of {target.name} against similarity to the training set"
    return finished(figure, file, alt, _caption(ensemble, binned))


def _draw(axis: Axes, similarity: Float64, errors: Float64, target: Target) -> bool:
    size, alpha = marker(len(errors))
    style: Style = {"s": size, "alpha": alpha, "linewidths": 0}
    axis.axhline(0, color=GREY, linewidth=0.8, zorder=1)
    axis.scatter(similarity, errors, color=TEST, zorder=2, **style)
    binned = _draw_typical_error(axis, similarity, errors)
    unit = error_unit(target)
    unit = in_lines(f"({unit})", 2.0) if unit else ""
    axis.set(xlim=(-0.02, 1.02), ylabel=f"Predicted − observed\n{unit}".rstrip())
    axis.set_xlabel("Tanimoto similarity to the nearest training molecule")
    axis.yaxis.set_major_locator(MaxNLocator(5))
    largest = float(np.abs(errors).max()) * 1.08 or 1.0
    axis.set_ylim(-largest, largest)
    return binned


def _draw_typical_error(axis: Axes, similarity: Float64, errors: Float64) -> bool:
    """Draw plus and minus the RMSE of bins of equally many rows, if there are rows for two."""
    bins = min(MOST_BINS, len(errors) // FEWEST_IN_BIN)
    if bins < 2:
        return False
    edges = np.unique(np.quantile(similarity, np.linspace(0, 1, bins + 1)))
    if len(edges) < 3:
        return False
    place = np.clip(np.searchsorted(edges, similarity, side="right") - 1, 0, len(edges) - 2)
    squares = np.bincount(place, errors**2, minlength=len(edges) - 1)
    rmse = np.sqrt(squares / np.maximum(np.bincount(place, minlength=len(edges) - 1), 1))
    for sign in (-1, 1):
        axis.stairs(sign * rmse, edges, color=INK, linewidth=1.2, baseline=None, zorder=3)
    return True


def _caption(ensemble: str, binned: bool) -> str:
    text = (
        f"Errors of {ensemble} on test molecules. Where they grow to the left, predictions of "
        "molecules unlike the training set deserve less trust."
    )
    steps = " The dark steps are plus and minus the RMSE of about equally many molecules each."
    return text + (steps if binned else "")
