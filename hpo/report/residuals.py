"""Errors of predictions, by how much the molecules resemble those that were trained on."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from chemprop_hpo.hpo.report.content import EnsembleTarget, Judged, Target
from chemprop_hpo.hpo.report.drawing import (
    GREY,
    INK,
    Picture,
    finished,
    in_lines,
    name_figure,
    panels,
)
from chemprop_hpo.hpo.report.points import Part, draw_points, name_folds, parts_of
from chemprop_hpo.hpo.report.units import error_unit

__all__ = ["draw_residuals"]

Float64 = NDArray[np.float64]

FEWEST_IN_BIN = 15
MOST_BINS = 8


def draw_residuals(
    target: Target, result: EnsembleTarget, ensemble: str, file: str
) -> Picture | None:
    """Draw predicted minus observed against similarity to the nearest training molecule.

    Returns None where no similarity is known.
    """
    parts = [part for part in parts_of(result) if _known(part.judged).any()]
    if not parts:
        return None
    figure, axes = panels(len(parts), 1, width=6.9, height=2.45, sharex=True, sharey=True)
    name_figure(figure, target.name)
    name_folds(figure, parts)
    binned = [_draw(axis, part) for axis, part in zip(axes, parts, strict=True)]
    _name_axes(axes, parts, target)
    alt = f"Residuals of {target.name} against similarity to the training set"
    return finished(figure, file, alt, _caption(parts, ensemble, any(binned)))


def _known(judged: Judged) -> NDArray[np.bool_]:
    if judged.similarity is None:
        return np.zeros(judged.n, dtype=bool)
    return np.isfinite(judged.mean - judged.labels) & np.isfinite(judged.similarity)


def _draw(axis: Axes, part: Part) -> bool:
    known, judged = _known(part.judged), part.judged
    similarity = np.full(judged.n, np.nan) if judged.similarity is None else judged.similarity
    errors = judged.mean - judged.labels
    axis.axhline(0, color=GREY, linewidth=0.8, zorder=1)
    axis.set_title(f"{part.name} (n = {int(known.sum())})", color=part.ink)
    draw_points(axis, part, similarity, errors)
    return _draw_typical_error(axis, similarity[known], errors[known])


def _name_axes(axes: list[Axes], parts: list[Part], target: Target) -> None:
    unit = error_unit(target)
    unit = in_lines(f"({unit})", 2.0) if unit else ""
    for axis in axes:
        axis.set_ylabel(f"Predicted − observed\n{unit}".rstrip())
        axis.yaxis.set_major_locator(MaxNLocator(5))
    axes[-1].set_xlabel("Tanimoto similarity to the nearest training molecule")
    largest = max(_largest_error(part.judged) for part in parts) * 1.08 or 1.0
    axes[0].set(xlim=(-0.02, 1.02), ylim=(-largest, largest))


def _largest_error(judged: Judged) -> float:
    return float(np.abs(judged.mean - judged.labels)[_known(judged)].max())


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
        axis.stairs(sign * rmse, edges, color=INK, linewidth=1.2, baseline=None, zorder=4)
    return True


def _caption(parts: list[Part], ensemble: str, binned: bool) -> str:
    text = (
        f"Errors of {ensemble}. Where they grow to the left, predictions of molecules unlike the "
        "training set deserve less trust."
    )
    if parts[0].name == "Out of fold":
        text += (
            " An out-of-fold molecule is compared with those that the models which left it out "
            "were trained on."
        )
    if parts[0].folds:
        text += " Its colour is the fold that left it out."
    for part in parts:
        drawn = int(_known(part.judged).sum())
        if drawn < part.judged.n:
            text += f" {part.name}, {drawn:,} of {part.judged.n:,} rows were drawn at random."
    steps = " The dark steps are plus and minus the RMSE of about equally many molecules each."
    return text + (steps if binned else "")
