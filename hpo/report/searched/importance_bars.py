"""How much each searched parameter mattered, as bars."""

from __future__ import annotations

from matplotlib.ticker import PercentFormatter

from chemprop_hpo.hpo.report.drawing import (
    INK,
    OUT_OF_FOLD,
    Picture,
    Style,
    finished,
    in_lines,
    panels,
)
from chemprop_hpo.hpo.report.searched.content import Search

__all__ = ["draw_importances"]

CLOSE = 1e-9


def draw_importances(search: Search | None, file: str) -> Picture | None:
    """Draw a bar for each searched parameter; None where importances are not known."""
    known = [p for p in search.parameters if p.importance is not None] if search else []
    if search is None or not known:
        return None
    figure, (axis,) = panels(1, 1, width=6.9, height=0.75 + 0.24 * len(known))
    shares = [p.importance or 0.0 for p in known]
    limits = [p.by_chance or 0.0 for p in known]
    clear = [share > limit + CLOSE for share, limit in zip(shares, limits, strict=True)]
    colours = [OUT_OF_FOLD if beyond else "#BBBBBB" for beyond in clear]
    axis.barh(range(len(known)), shares, height=0.62, color=colours, linewidth=0)
    mark: Style = {"marker": "|", "s": 70, "color": INK, "linewidths": 1.2, "zorder": 3}
    axis.scatter(limits, range(len(known)), **mark)
    axis.set_yticks(range(len(known)), [in_lines(p.name, 1.9, 1) for p in known])
    axis.set_ylim(len(known) - 0.4, -0.6)
    axis.set_xlim(left=0)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x")
    axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axis.set_xlabel("Share of the importance")
    return finished(figure, file, "Importance of each searched parameter", _caption(search))


def _caption(search: Search) -> str:
    n, top = len(search.trials), len(search.top)
    stopped = f" and {search.stopped} that were stopped" if search.stopped else ""
    return (
        f"How much the values of the best {top} trials differ from those of all: {n} complete "
        f"ones{stopped} (conditional PED-ANOVA; the shares sum to one). Marks: what 95 of 100 "
        "random choices of the best stay below. A grey bar does not reach beyond its mark, and "
        "may be chance; what the sampler hardly varied cannot show what it counts."
    )
