"""The rows of a part as points, in the colours of their folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from chemprop_hpo.hpo.report.content import EnsembleTarget, Judged
from chemprop_hpo.hpo.report.drawing import INK, OUT_OF_FOLD, TEST, Style
from chemprop_hpo.hpo.report.fold_colours import colours_of, name_colours

__all__ = ["FEW", "Part", "draw_points", "fold_colours", "name_folds", "parts_of"]

Float64 = NDArray[np.float64]

FEW = 150
"""Up to as many rows have large marks."""

MOST_COLOURED = 500
"""Among more rows the colours of folds cannot be told apart."""


@dataclass(frozen=True, eq=False)
class Part:
    """What is drawn in one panel.

    Attributes
    ----------
    name, colour : str
    judged : Judged
    folds : mapping of int to str
        The colour of each fold; empty where folds or rows are too many for colours.
    """

    name: str
    colour: str
    judged: Judged
    folds: Mapping[int, str]

    @property
    def ink(self) -> str:
        """Return the colour of its title."""
        return INK if self.folds else self.colour


def parts_of(result: EnsembleTarget) -> list[Part]:
    """Return the out-of-fold and the test part of a target, as far as they were judged."""
    both = (
        ("Out of fold", OUT_OF_FOLD, result.out_of_fold),
        ("Test", TEST, result.test),
    )
    return [
        Part(name, colour, judged, fold_colours(judged))
        for name, colour, judged in both
        if judged is not None and judged.n
    ]


def draw_points(
    axis: Axes, part: Part, x: Float64, y: Float64, outside: NDArray[np.bool_] | None = None
) -> None:
    """Draw the rows of a part, each in the colour of its fold where folds have one.

    Parameters
    ----------
    x, y : arrays, shape (n,)
        A row that lacks one is not drawn.
    outside : bool array, shape (n,), optional
        The rows that are marked as lying outside their interval.
    """
    known = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    # In the order of a file one fold might hide the others.
    rows = np.random.default_rng(0).permutation(known)
    size, alpha = _mark(len(rows))
    alpha = 0.85 if part.folds else alpha
    style: Style = {"s": size, "alpha": alpha, "linewidths": 0, "zorder": 3}
    marked = np.zeros(len(rows), dtype=bool) if outside is None else outside[rows]
    within, beyond = rows[~marked], rows[marked]
    axis.scatter(x[within], y[within], c=_faces(part, part.colour)[within], **style)
    style |= {"alpha": min(1.0, alpha * 1.6), "marker": "D"}
    if part.folds:
        style |= {"edgecolors": INK, "linewidths": 0.7}
    axis.scatter(x[beyond], y[beyond], c=_faces(part, INK)[beyond], **style)


def name_folds(figure: Figure, parts: Sequence[Part]) -> None:
    """Say below a figure whose each colour is, where rows are coloured by fold."""
    named = {f"fold {fold}": colour for part in parts for fold, colour in part.folds.items()}
    name_colours(figure, named, marker="o", markersize=4, linewidth=0)


def fold_colours(judged: Judged) -> dict[int, str]:
    """Return the colour of each fold; empty where folds or rows are too many for colours."""
    if judged.folds is None or judged.n > MOST_COLOURED:
        return {}
    return colours_of(judged.folds.tolist())


def _mark(n: int) -> tuple[float, float]:
    """Return size (square points) and opacity of the marks of ``n`` rows."""
    if n <= FEW:
        return 16.0, 0.85
    return (9.0, 0.5) if n <= 1000 else (5.0, 0.3)


def _faces(part: Part, otherwise: str) -> NDArray[np.str_]:
    if part.judged.folds is None or not part.folds:
        return np.full(part.judged.n, otherwise)
    return np.array([part.folds[fold] for fold in part.judged.folds.tolist()])
