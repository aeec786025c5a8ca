"""How often prediction intervals held what they promised."""

from __future__ import annotations

from matplotlib.axes import Axes

from chemprop_hpo.hpo.evaluation.reliability import wilson_interval
from chemprop_hpo.hpo.report.content import Coverage, EnsembleTarget, ReportContent
from chemprop_hpo.hpo.report.drawing import (
    GREY,
    OUT_OF_FOLD,
    TEST,
    Picture,
    Style,
    finished,
    in_lines,
    panels,
)

__all__ = ["draw_coverage"]

WIDTHS = (3.6, 2.35)
"""Inches of a panel that stands alone, and of one among others."""

SHIFT = 0.6
"""Percent by which the two parts are drawn apart."""


def draw_coverage(content: ReportContent, file: str) -> Picture | None:
    """Draw nominal against observed coverage, a panel for each target; None without intervals."""
    results = [
        (target.name, result)
        for target, result in zip(content.targets, content.ensembles[-1].targets, strict=True)
        if _parts(result)
    ]
    if not results:
        return None
    figure, axes = panels(len(results), 3, width=WIDTHS[len(results) > 1], height=2.25, sharey=True)
    for axis, (name, result) in zip(axes, results, strict=True):
        _draw_target(axis, name, result)
    figure.supxlabel("Promised coverage (%)", fontsize=8.5)
    figure.supylabel("Observed coverage (%)", fontsize=8.5)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=3)
    caption = (
        f"Share of labels inside the intervals of {content.ensembles[-1].name}, with its 95 % "
        "interval (Wilson). On the grey line intervals hold what they promise; below it they are "
        "too narrow. Out-of-fold rows served to set the widths, so only test rows are proof."
    )
    return finished(figure, file, "Promised against observed coverage", caption)


def _parts(result: EnsembleTarget) -> list[tuple[str, str, str, float, dict[int, Coverage]]]:
    """List name, colour, marker, shift and coverage of the parts that have any."""
    parts = []
    for name, colour, marker, shift, judged in (
        ("Out of fold", OUT_OF_FOLD, "o", -SHIFT, result.out_of_fold),
        ("Test", TEST, "s", SHIFT, result.test),
    ):
        coverage = {} if judged is None else {k: c for k, c in judged.coverage.items() if c.n}
        if coverage:
            parts.append((name, colour, marker, shift, coverage))
    return parts


def _draw_target(axis: Axes, name: str, result: EnsembleTarget) -> None:
    levels = set()
    for label, colour, marker, shift, coverage in _parts(result):
        _draw_part(axis, coverage, label, {"color": colour, "marker": marker}, shift)
        levels |= set(coverage)
    ends = (min(levels) - 5, min(100, max(levels) + 5))
    axis.plot(ends, ends, color=GREY, linewidth=0.8, zorder=1)
    axis.set_xticks(sorted(levels))
    axis.set_title(in_lines(name, 1.8))
    axis.grid(axis="y")


def _draw_part(
    axis: Axes, coverage: dict[int, Coverage], label: str, style: dict[str, str], shift: float
) -> None:
    levels = sorted(coverage)
    shares = [100 * coverage[level].share for level in levels]
    counts = [coverage[level].n for level in levels]
    hits = [coverage[level].share * coverage[level].n for level in levels]
    low, high = (100 * end for end in wilson_interval(hits, counts))
    errors = [[s - a for s, a in zip(shares, low, strict=True)]]
    errors.append([b - s for s, b in zip(shares, high, strict=True)])
    errors = [[max(0.0, float(x)) for x in side] for side in errors]
    places = [level + shift for level in levels]
    bars: Style = {"linestyle": "none", "markersize": 4, "elinewidth": 1.0, **style}
    axis.errorbar(places, shares, yerr=errors, label=label, **bars)
