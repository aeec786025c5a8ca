"""A colour for each fold, where folds are few enough to be told apart."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, TypeVar

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

__all__ = ["PALETTE", "colours_in_order", "colours_of", "name_colours"]

# Of Petroff (2021), arXiv:2107.02270, which the colour-blind can tell apart. The orange stands
# last: it is near that of test rows.
PALETTE = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#832db6",
    "#92dadd",
    "#a96b59",
    "#94a4a2",
    "#b9ac70",
    "#717581",
    "#e76300",
)

LETTER, LINE = 0.075, 0.18
"""Inches of a letter's width and of a line's height in a legend."""

Where = Literal["outside lower center", "outside upper right"]

_Key = TypeVar("_Key", int, tuple[int, int])


def colours_of(folds: Collection[int]) -> dict[int, str]:
    """Return a colour for each fold; empty for a single one, and for more than there are.

    A fold of a low number has the same colour whichever others there are.
    """
    found = colours_in_order(folds)
    if max(found, default=0) < len(PALETTE):
        return {fold: PALETTE[fold] for fold in found}
    return found


def colours_in_order(keys: Collection[_Key]) -> dict[_Key, str]:
    """Return a colour for each key in their order; empty for a single one, and for too many."""
    distinct = sorted(set(keys))
    if not 2 <= len(distinct) <= len(PALETTE):
        return {}
    return dict(zip(distinct, PALETTE, strict=False))


def name_colours(
    figure: Figure, colours: Mapping[str, str], where: Where = "outside lower center", **mark: Any
) -> None:
    """Say beside the panels of a figure whose each colour is, if there are any.

    The figure grows by what that needs.

    Parameters
    ----------
    where : str
        At which edge of the figure, as matplotlib calls it.
    **mark
        Of matplotlib's ``Line2D``, such as ``marker``.
    """
    if not colours:
        return
    n, most = len(colours), int(figure.get_figwidth() / (0.45 + LETTER * max(map(len, colours))))
    lines = -(-n // max(most, 1))
    figure.set_figheight(figure.get_figheight() + LINE * lines)
    handles = [Line2D([], [], color=colour, **mark) for colour in colours.values()]
    figure.legend(
        handles,
        list(colours),
        loc=where,
        ncols=-(-n // lines),
        handlelength=1.2,
        handletextpad=0.5,
        columnspacing=1.2,
    )
