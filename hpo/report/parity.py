"""Observed against predicted values, with the intervals that were promised."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from chemprop_hpo.hpo.report.content import EnsembleTarget, Judged, Target
from chemprop_hpo.hpo.report.drawing import (
    GREY,
    INK,
    PALE,
    Picture,
    Style,
    finished,
    in_lines,
    name_figure,
    panels,
)
from chemprop_hpo.hpo.report.levels import level_shown
from chemprop_hpo.hpo.report.points import FEW, Part, draw_points, name_folds, parts_of
from chemprop_hpo.hpo.report.units import mark_original_units, measured_in

__all__ = ["draw_parity", "limits_of"]

Float64 = NDArray[np.float64]


def draw_parity(target: Target, result: EnsembleTarget, ensemble: str, file: str) -> Picture | None:
    """Draw a panel for the out-of-fold and one for the test predictions of a target.

    Returns None where neither was judged.
    """
    parts = parts_of(result)
    if not parts:
        return None
    limits = limits_of([part.judged for part in parts])
    figure, axes = panels(len(parts), 2, width=3.45, height=3.6)
    name_figure(figure, target.name)
    name_folds(figure, parts)
    for axis, part in zip(axes, parts, strict=True):
        _draw_part(axis, part, limits, target)
        axis.set_title(f"{part.name} (n = {part.judged.n})", color=part.ink)
    alt = f"Observed against predicted {target.name}"
    return finished(figure, file, alt, _caption(parts, ensemble))


def _draw_part(axis: Axes, part: Part, limits: tuple[float, float], target: Target) -> None:
    _draw_frame(axis, limits, target)
    judged = part.judged
    level = level_shown(judged.half_widths)
    half = judged.half_widths[level] if level else np.full(judged.n, np.nan)
    if judged.n <= FEW:
        bars: Style = {"ecolor": "#B5B5B5", "elinewidth": 0.7, "fmt": "none", "zorder": 1}
        axis.errorbar(judged.mean, judged.labels, xerr=half, **bars)
    else:
        _draw_band(axis, judged.mean, half)
    outside = np.abs(judged.labels - judged.mean) > half
    draw_points(axis, part, judged.mean, judged.labels, outside)


def _draw_frame(axis: Axes, limits: tuple[float, float], target: Target) -> None:
    axis.plot(limits, limits, color=GREY, linewidth=0.8, zorder=2)
    axis.set(xlim=limits, ylim=limits)
    for side in (axis.xaxis, axis.yaxis):
        mark_original_units(side, target.transform, *limits)
    axis.set_xlabel(in_lines(measured_in("Predicted", target), 2.9))
    axis.set_ylabel(in_lines(measured_in("Observed", target), 2.9))


def _draw_band(axis: Axes, mean: Float64, half: Float64) -> None:
    """Shade the median half width about the diagonal, in bins of equally many rows."""
    known = np.isfinite(half)
    if not known.any():
        return
    order = np.argsort(mean[known])
    bins = np.array_split(order, max(2, min(20, len(order) // 25)))
    centre = np.array([np.median(mean[known][rows]) for rows in bins])
    centre[[0, -1]] = mean[known].min(), mean[known].max()
    width = np.array([np.median(half[known][rows]) for rows in bins])
    axis.fill_between(centre, centre - width, centre + width, color=PALE, linewidth=0, zorder=0)
    for end in (centre - width, centre + width):  # seen also where points hide the shade
        axis.plot(centre, end, color=INK, linewidth=0.7, zorder=4)


def limits_of(parts: list[Judged]) -> tuple[float, float]:
    """Return the ends of an axis that holds all labels and predictions, with a margin."""
    values = np.concatenate([x for part in parts for x in (part.labels, part.mean)])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    margin = 0.06 * (high - low) or 0.5
    return low - margin, high + margin


def _caption(parts: list[Part], ensemble: str) -> str:
    text = f"Predictions of {ensemble}; on the grey line they equal the measured value."
    if parts[0].folds:
        text += " Out of fold, the colour is the fold that left the molecule out."
    levels = {level for part in parts if (level := level_shown(part.judged.half_widths))}
    if not levels:
        return f"{text} There are no intervals."
    level = max(levels)
    shapes = {"bar" if part.judged.n <= FEW else "band" for part in parts}
    shape = "bars and the shaded band are" if len(shapes) == 2 else None
    shape = shape or ("bars are" if shapes == {"bar"} else "shaded band is")
    diamonds = "diamonds with a dark edge" if parts[0].folds else "dark diamonds"
    typical = "" if shapes == {"bar"} else " (the band: their median width)"
    return (
        f"{text} The {shape} the {level} % prediction intervals{typical}; "
        f"{diamonds} lie outside their own interval."
    )
