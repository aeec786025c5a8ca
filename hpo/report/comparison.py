"""One figure of all ensembles side by side, target by target and over all targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from chemprop_hpo.hpo.evaluation.bootstrap import Interval
from chemprop_hpo.hpo.report.content import Ensemble, EnsembleTarget, Judged, ReportContent, Target
from chemprop_hpo.hpo.report.drawing import (
    OUT_OF_FOLD,
    TEST,
    Picture,
    Style,
    finished,
    in_lines,
    panels,
)
from chemprop_hpo.hpo.report.figure_names import (
    figure_title,
    has_unit,
    is_better_lower,
    macro_figure,
    macro_title,
)
from chemprop_hpo.hpo.report.units import error_unit

__all__ = ["draw_comparison", "draw_macro"]

HOLLOW = " Hollow marks: judged on fewer rows than the others, and not comparable with them."


class Row(NamedTuple):
    """An ensemble's figure out of fold, perhaps on fewer rows than others, and on test."""

    name: str
    out_of_fold: Interval | None
    test: Interval | None
    fewer: bool = False


def draw_comparison(content: ReportContent, figure_name: str, file: str) -> Picture | None:
    """Draw one figure, such as ``rmse``, of all ensembles, a panel for each target.

    In transformed units where a target has a transform. None where nobody has the figure.
    """
    rows = [_rows(content.ensembles, i, figure_name) for i in range(len(content.targets))]
    if not any(_defined(row) for target in rows for row in target):
        return None
    n = len(content.targets)
    columns, width = (3, 2.35) if n > 2 else (n, 6.9 / n)
    figure, axes = panels(n, columns, width=width, height=_height(content), sharey=True)
    for axis, target, of_target in zip(axes, content.targets, rows, strict=True):
        _draw_rows(axis, of_target)
        axis.set_title(in_lines(target.name, width - 0.6))
        axis.set_xlabel(in_lines(_axis_label(figure_name, target), width - 0.1))
    _draw_legend(axes[0])
    title = figure_title(figure_name)
    fewer = any(row.fewer for of_target in rows for row in of_target)
    caption = _caption(figure_name, title, both=content.has_test) + (HOLLOW if fewer else "")
    return finished(figure, file, f"{title} of all ensembles", caption)


def draw_macro(content: ReportContent, file: str) -> Picture | None:
    """Draw the mean figure over targets of all ensembles; None where nobody has it."""
    rows = [Row(e.name, e.macro_out_of_fold, e.macro_test) for e in content.ensembles]
    if not any(_defined(row) for row in rows):
        return None
    name, title = macro_figure(content.task), macro_title(content.task)
    figure, (axis,) = panels(1, 1, width=6.9, height=_height(content))
    _draw_rows(axis, rows)
    axis.set_xlabel(title)
    _draw_legend(axis)
    caption = _caption(name, title, both=content.has_test)
    return finished(figure, file, f"{title} of all ensembles", caption)


def _rows(ensembles: Sequence[Ensemble], i: int, name: str) -> list[Row]:
    def of(judged: Judged | None) -> Interval | None:
        return None if judged is None else (judged.transformed_figures or judged.figures).get(name)

    most = max((j.n for e in ensembles if (j := e.targets[i].out_of_fold)), default=0)

    def row(name: str, result: EnsembleTarget) -> Row:
        fewer = result.out_of_fold is not None and result.out_of_fold.n < most
        return Row(name, of(result.out_of_fold), of(result.test), fewer)

    return [row(ensemble.name, ensemble.targets[i]) for ensemble in ensembles]


def _defined(row: Row) -> bool:
    return any(
        interval is not None and np.isfinite(interval.value)
        for interval in (row.out_of_fold, row.test)
    )


def _height(content: ReportContent) -> float:
    return 0.95 + 0.28 * len(content.ensembles)


def _draw_rows(axis: Axes, rows: Sequence[Row]) -> None:
    shift = 0.14 if any(r.out_of_fold for r in rows) and any(r.test for r in rows) else 0.0
    style: Style = {"label": "Out of fold", "color": OUT_OF_FOLD, "marker": "o"}
    _draw_intervals(axis, [None if r.fewer else r.out_of_fold for r in rows], -shift, style)
    style |= {"label": None, "markerfacecolor": "white"}
    _draw_intervals(axis, [r.out_of_fold if r.fewer else None for r in rows], -shift, style)
    _draw_intervals(
        axis, [r.test for r in rows], shift, {"label": "Test", "color": TEST, "marker": "s"}
    )
    axis.set_yticks(range(len(rows)), [in_lines(row.name, 1.6) for row in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x")
    axis.xaxis.set_major_locator(MaxNLocator(4))


def _draw_intervals(
    axis: Axes, intervals: Sequence[Interval | None], shift: float, style: Style
) -> None:
    there = [
        (interval, row + shift)
        for row, interval in enumerate(intervals)
        if interval is not None and np.isfinite(interval.value)
    ]
    if not there:
        return
    values = np.array([(i.value, i.low, i.high) for i, _ in there])
    errors = np.clip(np.abs(values[:, 1:] - values[:, :1]).T, 0, None)
    places = [place for _, place in there]
    bars: Style = {"linestyle": "none", "markersize": 4, "elinewidth": 1.1, **style}
    axis.errorbar(values[:, 0], places, xerr=errors, **bars)


def _draw_legend(axis: Axes) -> None:
    figure = axis.get_figure()
    handles, labels = axis.get_legend_handles_labels()
    if figure is not None:
        figure.legend(handles, labels, loc="outside upper right", ncols=2)


def _axis_label(name: str, target: Target) -> str:
    unit = error_unit(target) if has_unit(name) else ""
    return f"{figure_title(name)} ({unit})" if unit else figure_title(name)


def _caption(name: str, title: str, *, both: bool) -> str:
    better = "Further left is better" if is_better_lower(name) else "Further right is better"
    text = f"{title}, with 95 % bootstrap intervals over molecules. {better}."
    colours = " The two colours stand for different molecules: compare within a colour."
    return text + (colours if both else "")
