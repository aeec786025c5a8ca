"""Each trial as a line over the searched parameters, up to its metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

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
from chemprop_hpo.hpo.report.searched.content import Search, SearchedParameter, SearchedTrial
from chemprop_hpo.hpo.report.searched.slices import metric_limits

__all__ = ["draw_parallel_coordinates"]

MOST = 8
"""Parameters that one picture can hold; the most important ones are drawn."""

WIDTH, HEIGHT = 6.9, 3.3
ABSENT = -0.17
"""Where a line runs whose trial took a branch without the parameter; the scale is from 0 to 1."""

LABEL = 1.35
"""Widths are told in letters of names; those of labels are smaller."""

BACKED: Style = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}


@dataclass(frozen=True)
class _Scale:
    """A vertical scale: the labels at its heights, which are from 0 to 1."""

    name: str
    labels: tuple[tuple[float, str], ...]


def draw_parallel_coordinates(search: Search | None, file: str) -> Picture | None:
    """Draw a line for each complete trial; None without any, or with a single parameter."""
    if search is None or len(search.parameters) < 2 or not search.trials:
        return None
    shown = search.parameters[:MOST]
    figure, (axis,) = panels(1, 1, width=WIDTH, height=HEIGHT)
    heights = np.array([_heights(search, trial, shown) for trial in search.trials])
    is_top = np.array([trial.top for trial in search.trials])
    _draw_lines(axis, heights[~is_top], {"color": "#BDBDBD", "linewidth": 0.6, "zorder": 2})
    _draw_lines(axis, heights[is_top], {"color": OUT_OF_FOLD, "linewidth": 1.1, "zorder": 3})
    _draw_lines(axis, heights[:1], {"color": INK, "linewidth": 1.7, "zorder": 4})
    scales = [*(_scale(parameter) for parameter in shown), _metric_scale(search)]
    room = WIDTH / len(scales)
    for place, scale in enumerate(scales):
        _draw_scale(axis, place, scale, room)
    is_absent = bool((heights == ABSENT).any())
    if is_absent:
        axis.text(-0.15, ABSENT, "not taken", ha="right", va="center", fontsize=6.5, color=GREY)
    axis.set_xlim(-0.75 if is_absent else -0.35, len(scales) - 0.4)
    axis.set_ylim(ABSENT - 0.06 if is_absent else -0.08, 1.04)
    axis.set_axis_off()
    alt = f"Each trial as a line over {len(shown)} parameters and {search.metric}"
    return finished(figure, file, alt, _caption(search, len(shown), is_absent))


# ----------------------------------------------------------------------------- heights


def _heights(
    search: Search, trial: SearchedTrial, shown: Sequence[SearchedParameter]
) -> list[float]:
    places = (_place(trial, parameter) for parameter in shown)
    return [*(ABSENT if place is None else place for place in places), _goodness(search, trial)]


def _place(trial: SearchedTrial, parameter: SearchedParameter) -> float | None:
    """Return where a value stands between the ends, from 0 to 1; None where there is none."""
    if parameter.name not in trial.parameters:
        return None
    place = parameter.place(trial.parameters[parameter.name])
    if place is None:
        return None
    if parameter.choices:
        return _spread(int(place), len(parameter.choices))
    low, high = parameter.ends
    if parameter.log:
        low, high, place = math.log(low), math.log(high), math.log(place)
    # Values of an earlier, wider range lie at its end.
    return min(max((place - low) / (high - low), 0.0), 1.0) if high > low else 0.5


def _spread(i: int, n: int) -> float:
    return i / (n - 1) if n > 1 else 0.5


def _goodness(search: Search, trial: SearchedTrial) -> float:
    """Return the height of a trial's metric: the best at the top, far worse ones at the bottom."""
    worst, best = _metric_ends(search)
    return min(max((trial.value - worst) / (best - worst), 0.0), 1.0) if best != worst else 1.0


def _metric_ends(search: Search) -> tuple[float, float]:
    (low, high), _ = metric_limits(search)
    inside = [trial.value for trial in search.trials if low <= trial.value <= high]
    ends = (min(inside), max(inside))
    return ends if search.mode == "max" else (ends[1], ends[0])


# ----------------------------------------------------------------------------- scales


def _scale(parameter: SearchedParameter) -> _Scale:
    if parameter.choices:
        n = len(parameter.choices)
        names = ((_spread(i, n), as_value(choice)) for i, choice in enumerate(parameter.choices))
        return _Scale(parameter.name, tuple(names))
    low, high = (as_value(end) for end in parameter.ends)
    return _Scale(parameter.name, ((0.0, low), (1.0, high)))


def _metric_scale(search: Search) -> _Scale:
    worst, best = (as_value(float(f"{end:.4g}")) for end in _metric_ends(search))
    return _Scale(search.metric, ((1.0, best),) if worst == best else ((0.0, worst), (1.0, best)))


def _draw_scale(axis: Axes, place: int, scale: _Scale, room: float) -> None:
    axis.plot([place, place], [0, 1], color=GREY, linewidth=0.7, zorder=5)
    # Every second name stands higher, so that long ones have room.
    level = 1.05 + 0.08 * (place % 2)
    name = in_lines(scale.name, 1.7 * room, 1)
    axis.text(place, level, name, ha="center", va="bottom", fontsize=7.5, fontweight="bold")
    for height, label in scale.labels:
        text = in_lines(label, LABEL * room, 1)
        axis.text(place + 0.04, height, text, fontsize=6.5, va="center", bbox=BACKED, zorder=6)


def _draw_lines(axis: Axes, heights: np.ndarray, style: Style) -> None:
    if len(heights):
        axis.plot(np.arange(heights.shape[1]), heights.T, alpha=0.85, **style)


def _caption(search: Search, shown: int, is_absent: bool) -> str:
    top = len(search.top)
    which = (
        f"the {shown} first of {len(search.parameters)}"
        if shown < len(search.parameters)
        else "all"
    )
    absent = (
        " Lines below a scale: trials of another branch, which have no such parameter."
        if is_absent
        else ""
    )
    return (
        f"Each complete trial as a line: its parameters ({which}, in the order of the table), "
        f"then {search.metric} with the best at the top. Blue: the best {top}; black: the very "
        f"best.{absent}"
    )
