"""How much the figures differ from one validation fold to the next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from chemprop_hpo.hpo.report.content import ReportContent, Target
from chemprop_hpo.hpo.report.drawing import (
    INK,
    OUT_OF_FOLD,
    Picture,
    Style,
    finished,
    in_lines,
    panels,
)
from chemprop_hpo.hpo.report.figure_names import figure_title, has_unit, headline_figure
from chemprop_hpo.hpo.report.units import error_unit

__all__ = ["draw_folds", "draw_members"]

Row = tuple[str, list[float]]


def draw_members(content: ReportContent, file: str) -> Picture | None:
    """Draw the study's metric of every member, a line of dots for each rank; None without any."""
    ranks = sorted({member.rank for member in content.members})
    rows = [
        (f"rank {rank}", [_number(m.value) for m in content.members if m.rank == rank])
        for rank in ranks
    ]
    if not any(_finite(values) for _, values in rows):
        return None
    figure, (axis,) = panels(1, 1, width=6.9, height=0.75 + 0.3 * len(rows))
    _draw_rows(axis, rows)
    axis.set_xlabel(in_lines(f"{content.metric}, best epoch", 6))
    n = sum(len(_finite(values)) for _, values in rows)
    better = "lower" if content.mode == "min" else "higher"
    caption = (
        f"Each of the {n} dots is a member on its own validation fold ({better} is better); the "
        "dark mark is their mean. Ranks that differ by less than their dots spread are hard to "
        "tell apart."
    )
    return finished(figure, file, f"{content.metric} of every member", caption)


def draw_folds(content: ReportContent, file: str) -> Picture | None:
    """Draw each ensemble's figure on each fold, a panel for each target; None without folds."""
    name = headline_figure(content.task)
    rows = [
        [
            (e.name, [_number(fold.figures.get(name)) for fold in e.targets[i].by_fold])
            for e in content.ensembles
        ]
        for i in range(len(content.targets))
    ]
    if not any(_finite(values) for target in rows for _, values in target):
        return None
    n = len(content.targets)
    columns, width = (3, 2.35) if n > 2 else (n, 6.9 / n)
    height = 0.9 + 0.25 * len(content.ensembles)
    figure, axes = panels(n, columns, width=width, height=height, sharey=True)
    for axis, target, of_target in zip(axes, content.targets, rows, strict=True):
        _draw_rows(axis, of_target)
        axis.set_title(in_lines(target.name, width - 0.6))
        axis.set_xlabel(in_lines(_axis_label(name, target), width - 0.1))
    caption = (
        f"{figure_title(name)} on each validation fold, a dot for each; the dark mark is their "
        "mean. The spread is what another choice of folds would have changed."
    )
    return finished(figure, file, f"{figure_title(name)} on each fold", caption)


def _draw_rows(axis: Axes, rows: Sequence[Row]) -> None:
    for place, (_, values) in enumerate(rows):
        defined = _finite(values)
        dots: Style = {"s": 16, "color": OUT_OF_FOLD, "alpha": 0.55, "linewidths": 0, "zorder": 2}
        axis.scatter(defined, [place] * len(defined), **dots)
        if len(defined) > 1:
            mark: Style = {"marker": "|", "s": 90, "color": INK, "linewidths": 1.4, "zorder": 3}
            axis.scatter([float(np.mean(defined))], [place], **mark)
    axis.set_yticks(range(len(rows)), [in_lines(name, 1.6) for name, _ in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x")
    axis.xaxis.set_major_locator(MaxNLocator(4))


def _axis_label(name: str, target: Target) -> str:
    unit = error_unit(target) if has_unit(name) else ""
    return f"{figure_title(name)} ({unit})" if unit else figure_title(name)


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)


def _finite(values: Sequence[float]) -> list[float]:
    return [value for value in values if np.isfinite(value)]
