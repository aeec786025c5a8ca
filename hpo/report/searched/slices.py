"""The study's metric over each searched parameter, and where the top trials lie."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
)

from chemprop_hpo.hpo.report.digits import as_value
from chemprop_hpo.hpo.report.drawing import (
    GREY,
    INK,
    OUT_OF_FOLD,
    Picture,
    Style,
    finished,
    in_lines,
    panels,
)
from chemprop_hpo.hpo.report.searched.content import Search, SearchedParameter
from chemprop_hpo.hpo.report.searched.ranges import choice_counts, places, top_span

__all__ = ["draw_slices", "metric_limits"]

COLUMNS, WIDTH, HEIGHT = 3, 2.35, 1.95

FAR = 4.0
"""Values that are farther from the best than so many times the median are put on the edge."""

WIDE = 50
"""A logarithmic scale that reaches less far than by this factor has labels at its ends."""

PADDING = 0.05
SIZES = ((8, 1.0), (6.5, 0.76))
"""Sizes of the labels of choices, and their width as a part of the larger ones'."""


def draw_slices(search: Search | None, file: str) -> Picture | None:
    """Draw a panel for each searched parameter and a dot for each trial; None without any."""
    if search is None or not search.parameters or not search.trials:
        return None
    n = len(search.parameters)
    figure, axes = panels(n, COLUMNS, width=WIDTH, height=HEIGHT, sharey=True)
    limits, far = metric_limits(search)
    axes[0].set_ylim(*limits)
    axes[0].yaxis.set_major_locator(MaxNLocator(4))
    for axis, parameter in zip(axes, search.parameters, strict=True):
        _draw_parameter(axis, search, parameter, limits)
        axis.set_title(in_lines(parameter.name, WIDTH - 0.6, 1))
        if parameter.condition:
            condition = in_lines(f"if {parameter.condition}", WIDTH - 0.2)
            axis.set_xlabel(condition, fontsize=7, color=GREY)
    figure.supylabel(in_lines(search.metric, 2), fontsize=8.5)
    alt = f"{search.metric} over each searched parameter"
    return finished(figure, file, alt, _caption(search, far))


def metric_limits(search: Search) -> tuple[tuple[float, float], int]:
    """Return the ends of the scale of the metric, and how many values lie beyond them."""
    values = np.array([trial.value for trial in search.trials])
    best, reach = values[0], FAR * abs(np.median(values) - values[0])
    far = np.abs(values - best) > reach if search.is_telling and reach > 0 else values != values
    near = values[~far]
    padding = 0.08 * float(np.ptp(near)) or 0.1 * abs(float(best)) or 0.1
    return (float(near.min()) - padding, float(near.max()) + padding), int(far.sum())


def _draw_parameter(
    axis: Axes, search: Search, parameter: SearchedParameter, limits: tuple[float, float]
) -> None:
    axis.grid(axis="y")
    if parameter.choices:
        _prepare_choices(axis, search, parameter)
    else:
        _prepare_range(axis, search, parameter)
        _shade(axis, search, parameter)
    every, top = places(search, parameter), places(search, parameter, top=True)
    # The top is drawn above the others, the best of all in ink.
    _draw_dots(axis, every, limits, {"color": "#A8A8A8", "s": 11, "zorder": 2})
    _draw_dots(axis, top, limits, {"color": OUT_OF_FOLD, "s": 15, "zorder": 3})
    if parameter.name in search.trials[0].parameters:
        _draw_dots(axis, top[:1], limits, {"color": INK, "s": 22, "marker": "D", "zorder": 4})


def _draw_dots(
    axis: Axes, found: Sequence[tuple[float, float]], limits: tuple[float, float], style: Style
) -> None:
    if not found:
        return
    x, y = np.array(found).T
    inside = (y >= limits[0]) & (y <= limits[1])
    dots: Style = {"linewidths": 0, "alpha": 0.85, "clip_on": False, **style}
    axis.scatter(x[inside], y[inside], **dots)
    worse = limits[0] if (y < limits[0]).any() else limits[1]
    axis.scatter(
        x[~inside], np.full((~inside).sum(), worse), **dots | {"marker": "x", "linewidths": 0.8}
    )


def _prepare_range(axis: Axes, search: Search, parameter: SearchedParameter) -> None:
    ends = parameter.ends
    found = [place for place, _ in places(search, parameter)]
    low, high = min([*found, ends[0]]), max([*found, ends[1]])
    if parameter.log:
        _make_logarithmic(axis, low, high)
    else:
        whole = parameter.step is not None and parameter.step == int(parameter.step)
        axis.xaxis.set_major_locator(MaxNLocator(4, integer=whole))
        axis.set_xlim(low - PADDING * (high - low), high + PADDING * (high - low))
    for end in ends:
        axis.axvline(end, color=GREY, linewidth=0.7, linestyle=(0, (2, 2)), zorder=1)


def _make_logarithmic(axis: Axes, low: float, high: float) -> None:
    axis.set_xscale("log")
    if high / low < WIDE:
        middle = float(f"{math.sqrt(low * high):.1e}")
        axis.xaxis.set_major_locator(FixedLocator([low, middle, high]))
        axis.xaxis.set_minor_locator(NullLocator())
    else:
        axis.xaxis.set_major_locator(LogLocator(numticks=5))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: as_value(float(x))))
    axis.xaxis.set_minor_formatter(NullFormatter())
    factor = (high / low) ** PADDING
    axis.set_xlim(low / factor, high * factor)


def _shade(axis: Axes, search: Search, parameter: SearchedParameter) -> None:
    span = top_span(search, parameter)
    if span is not None and search.is_telling:
        axis.axvspan(*span, color=OUT_OF_FOLD, alpha=0.1, linewidth=0, zorder=0)


def _prepare_choices(axis: Axes, search: Search, parameter: SearchedParameter) -> None:
    counts = choice_counts(search, parameter)
    n, names = len(counts), [as_value(choice) for choice, _, _ in counts]
    room = (WIDTH - 0.6) / n
    fits = n < 5 and all(in_lines(name, room, 1) == name for name in names)
    size, scale = SIZES[not fits]
    lines = [in_lines(name, room / scale) for name in names]
    labels = [f"{name}\n{top}/{n_all}" for name, (_, top, n_all) in zip(lines, counts, strict=True)]
    axis.set_xticks(range(n), labels, fontsize=size)
    axis.tick_params(axis="x", length=0)
    axis.set_xlim(-0.6, n - 0.4)


def _caption(search: Search, far: int) -> str:
    n, top = len(search.trials), len(search.top)
    better = "lower" if search.mode == "min" else "higher"
    shaded = ", their range shaded," if search.is_telling else ""
    text = (
        f"{search.metric} ({better} is better) of {n} complete trials over each searched "
        f"parameter. Blue: the best {top}{shaded} with the very best in black. Dotted lines: the "
        "ends of the searched range. Below each choice: how many of the best, and of all, took it."
    )
    crosses = f" Crosses on the edge: values that are far worse ({far})." if far else ""
    few = "" if search.is_telling else " So few trials say little about ranges."
    return text + crosses + few
