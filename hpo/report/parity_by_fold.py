"""Observed against predicted values, a panel for each fold that left rows out."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from chemprop_hpo.hpo.report.content import EnsembleTarget, Judged, Target
from chemprop_hpo.hpo.report.drawing import (
    GREY,
    OUT_OF_FOLD,
    PALE,
    Picture,
    Style,
    finished,
    in_lines,
    name_figure,
    panels,
)
from chemprop_hpo.hpo.report.parity import limits_of
from chemprop_hpo.hpo.report.points import fold_colours
from chemprop_hpo.hpo.report.units import mark_original_units, measured_in

__all__ = ["MOST_PANELS", "draw_parity_by_fold"]

MOST_PANELS = 20


def draw_parity_by_fold(
    target: Target, result: EnsembleTarget, ensemble: str, file: str
) -> Picture | None:
    """Draw each fold's rows before those of all folds.

    Returns None where colours tell the folds apart, where there is one, and where there are
    more than `MOST_PANELS`.
    """
    judged = result.out_of_fold
    if judged is None or judged.folds is None or fold_colours(judged):
        return None
    folds = np.unique(judged.folds)
    if not 2 <= len(folds) <= MOST_PANELS:
        return None
    rows = -(-len(folds) // 4)
    figure, axes = panels(len(folds), 4, width=1.72, height=1.7, sharex=True, sharey=True)
    name_figure(figure, target.name)
    for axis, fold in zip(axes, folds.tolist(), strict=True):
        _draw_fold(axis, judged, judged.folds == fold)
        axis.set_title(f"Fold {fold} (n = {int((judged.folds == fold).sum())})")
    _frame(axes, judged, target)
    figure.supxlabel(in_lines(measured_in("Predicted", target), 4), fontsize=8.5)
    figure.supylabel(in_lines(measured_in("Observed", target), 1.7 * rows), fontsize=8.5)
    caption = (
        f"Out-of-fold predictions of {ensemble}: in blue those of one fold, by models that left it "
        "out, in grey those of all. A fold that lies elsewhere than the grey is harder, or unlike "
        "the others."
    )
    return finished(figure, file, f"Observed against predicted {target.name} by fold", caption)


def _draw_fold(axis: Axes, judged: Judged, mine: NDArray[np.bool_]) -> None:
    dots: Style = {"linestyle": "none", "marker": "o", "markeredgewidth": 0, "markersize": 2.2}
    axis.plot(judged.mean, judged.labels, color=PALE, zorder=1, **dots)
    axis.plot(judged.mean[mine], judged.labels[mine], color=OUT_OF_FOLD, zorder=3, **dots)


def _frame(axes: list[Axes], judged: Judged, target: Target) -> None:
    limits = limits_of([judged])
    for axis in axes:
        axis.plot(limits, limits, color=GREY, linewidth=0.8, zorder=2)
    axes[0].set(xlim=limits, ylim=limits)
    for side in (axes[0].xaxis, axes[0].yaxis):
        mark_original_units(side, target.transform, *limits, narrow=True)
