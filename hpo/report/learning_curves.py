"""How the members of each rank learned, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from chemprop_hpo.hpo.report.content import Member, ReportContent
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
from chemprop_hpo.hpo.report.fold_colours import colours_in_order, colours_of, name_colours

__all__ = ["draw_learning_curves"]

WIDTHS = (3.6, 2.35)
"""Inches of a panel that stands alone, and of one among others."""

LOG_FROM = 20.0
"""The scale is logarithmic where the largest value is more than this many times the smallest."""


def draw_learning_curves(content: ReportContent, file: str) -> Picture | None:
    """Draw a panel for each rank and a line for each member; None where no curve was kept."""
    by_rank = _by_rank(content.members)
    values = _finite([value for member in content.members for value in member.curve])
    if not len(values):
        return None
    colours = _colours(content.members)
    figure, axes = panels(
        len(by_rank), 3, width=WIDTHS[len(by_rank) > 1], height=2.2, sharex=True, sharey=True
    )
    if values.min() > 0 and values.max() > LOG_FROM * values.min():
        _make_logarithmic(axes[0])
    for axis, (rank, members) in zip(axes, by_rank.items(), strict=True):
        _draw_rank(axis, rank, members, colours)
    axes[0].set_xlim(left=0)
    axes[0].xaxis.set_major_locator(MaxNLocator(4, integer=True))
    figure.supxlabel("Epoch", fontsize=8.5)
    figure.supylabel(in_lines(content.metric, 2), fontsize=8.5)
    name_colours(figure, _named(colours), "outside upper right", linewidth=1.2)
    n = sum(map(_is_drawn, content.members))
    return finished(figure, file, "Learning curves by rank", _caption(content, n))


def _by_rank(members: Sequence[Member]) -> dict[int, list[Member]]:
    ranks = sorted({member.rank for member in members})
    return {rank: [member for member in members if member.rank == rank] for rank in ranks}


def _place(member: Member) -> tuple[int, int]:
    return member.split, member.fold


def _is_drawn(member: Member) -> bool:
    return bool(len(_finite(member.curve)))


def _colours(members: Sequence[Member]) -> dict[tuple[int, int], str]:
    """Return the colour of each split and fold; those of one split as in the other pictures."""
    places = {_place(member) for member in members if _is_drawn(member)}
    (split, *others) = {split for split, _ in places}
    if others:
        return colours_in_order(places)
    of_folds = colours_of([fold for _, fold in places])
    return {(split, fold): colour for fold, colour in of_folds.items()}


def _named(colours: Mapping[tuple[int, int], str]) -> dict[str, str]:
    """Call a fold by its number alone where there is one split."""
    several = len({split for split, _ in colours}) > 1
    return {
        f"split {split}, fold {fold}" if several else f"fold {fold}": colour
        for (split, fold), colour in colours.items()
    }


def _draw_rank(
    axis: Axes, rank: int, members: Sequence[Member], colours: Mapping[tuple[int, int], str]
) -> None:
    axis.set_title(f"Rank {rank}")
    axis.grid(axis="y")
    drawn = [member for member in members if _is_drawn(member)]
    for member in drawn:
        epochs = np.arange(1, len(member.curve) + 1)
        style: Style = {"color": OUT_OF_FOLD, "linewidth": 0.8, "alpha": 0.5}
        if colours:
            style |= {"color": colours[_place(member)], "alpha": 0.85}
        axis.plot(epochs, _with_gaps(member.curve), **style)
        _mark_best(axis, member)
    if not drawn:
        axis.text(0.5, 0.5, "no curve", transform=axis.transAxes, color=GREY, ha="center")


def _mark_best(axis: Axes, member: Member) -> None:
    best = member.best_epoch
    if best is not None and 1 <= best <= len(member.curve):
        style: Style = {"s": 14, "color": INK, "linewidths": 0, "zorder": 3}
        axis.scatter([best], [_with_gaps(member.curve)[best - 1]], **style)


def _make_logarithmic(axis: Axes) -> None:
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
    formatter = ScalarFormatter()
    axis.yaxis.set_major_formatter(formatter)
    axis.yaxis.set_minor_formatter(NullFormatter())


def _with_gaps(curve: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    values = np.asarray(curve, np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _finite(values: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    array = np.asarray(values, np.float64)
    return array[np.isfinite(array)]


def _caption(content: ReportContent, n: int) -> str:
    better = "lower" if content.mode == "min" else "higher"
    return (
        f"{content.metric} on the validation fold after each epoch, a line for each of {n} "
        f"members ({better} is better). The dot is the epoch whose weights are kept: if it stands "
        "at the very end, more epochs might have helped."
    )
