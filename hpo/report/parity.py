"""Observed against predicted values, with the intervals that were promised."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from chemprop_hpo.hpo.report.content import EnsembleTarget, Judged, Target
from chemprop_hpo.hpo.report.drawing import (
    GREY,
    INK,
    OUT_OF_FOLD,
    PALE,
    TEST,
    Picture,
    Style,
    finished,
    in_lines,
    name_figure,
    panels,
)
from chemprop_hpo.hpo.report.levels import level_shown
from chemprop_hpo.hpo.report.units import mark_original_units, measured_in

__all__ = ["MOST_BARS", "draw_parity"]

Float64 = NDArray[np.float64]

MOST_BARS = 150
"""More rows than this and their intervals are drawn as a band."""


def draw_parity(target: Target, result: EnsembleTarget, ensemble: str, file: str) -> Picture | None:
    """Draw a panel for the out-of-fold and one for the test predictions of a target.

    Returns None where neither was judged.
    """
    parts = [
        ("Out of fold", OUT_OF_FOLD, result.out_of_fold),
        ("Test", TEST, result.test),
    ]
    drawn = [(title, colour, part) for title, colour, part in parts if part is not None and part.n]
    if not drawn:
        return None
    limits = _limits([part for _, _, part in drawn])
    figure, axes = panels(len(drawn), 2, width=3.45, height=3.6)
    name_figure(figure, target.name)
    for axis, (title, colour, part) in zip(axes, drawn, strict=True):
        _draw_part(axis, part, colour, limits, target)
        axis.set_title(f"{title} (n = {part.n})", color=colour)
    alt = f"Observed against predicted {target.name}"
    return finished(figure, file, alt, _caption([part for _, _, part in drawn], ensemble))


def _draw_part(
    axis: Axes, part: Judged, colour: str, limits: tuple[float, float], target: Target
) -> None:
    _draw_frame(axis, limits, target)
    level = level_shown(part.half_widths)
    half = part.half_widths[level] if level else np.full(part.n, np.nan)
    outside = np.abs(part.labels - part.mean) > half
    if part.n <= MOST_BARS:
        bars: Style = {"ecolor": "#B5B5B5", "elinewidth": 0.7, "fmt": "none", "zorder": 1}
        axis.errorbar(part.mean, part.labels, xerr=half, **bars)
    else:
        _draw_band(axis, part.mean, half)
    size, alpha = marker(part.n)
    style: Style = {"s": size, "alpha": alpha, "linewidths": 0, "zorder": 3}
    axis.scatter(part.mean[~outside], part.labels[~outside], color=colour, **style)
    style |= {"alpha": min(1.0, alpha * 1.6)}
    axis.scatter(part.mean[outside], part.labels[outside], color=INK, marker="D", **style)


def marker(n: int) -> tuple[float, float]:
    """Return size (square points) and opacity of the markers of ``n`` rows."""
    if n <= MOST_BARS:
        return 16.0, 0.85
    return (9.0, 0.5) if n <= 1000 else (5.0, 0.3)


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


def _limits(parts: list[Judged]) -> tuple[float, float]:
    values = np.concatenate([x for part in parts for x in (part.labels, part.mean)])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    margin = 0.06 * (high - low) or 0.5
    return low - margin, high + margin


def _caption(parts: list[Judged], ensemble: str) -> str:
    text = f"Predictions of {ensemble}; on the grey line they equal the measured value."
    levels = {level for part in parts if (level := level_shown(part.half_widths))}
    if not levels:
        return f"{text} There are no intervals."
    level = max(levels)
    shapes = {"bar" if part.n <= MOST_BARS else "band" for part in parts}
    shape = "bars and the shaded band are" if len(shapes) == 2 else None
    shape = shape or ("bars are" if shapes == {"bar"} else "shaded band is")
    typical = "" if shapes == {"bar"} else " (the band: their median width)"
    return (
        f"{text} The {shape} the {level} % prediction intervals{typical}; "
        "dark diamonds lie outside their own interval."
    )
