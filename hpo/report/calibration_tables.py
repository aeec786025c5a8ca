"""How honest intervals and probabilities were, in numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chemprop_hpo.hpo.evaluation.reliability import expected_calibration_error, wilson_interval
from chemprop_hpo.hpo.report.content import Coverage, Judged, ReportContent, Target
from chemprop_hpo.hpo.report.digits import NOTHING, as_number
from chemprop_hpo.hpo.report.levels import level_shown
from chemprop_hpo.hpo.report.tables import Cell, Group, Row, Table
from chemprop_hpo.hpo.report.units import error_unit

__all__ = ["calibration_table", "covered_range"]


def calibration_table(content: ReportContent) -> Table | None:
    """Say how honest the last ensemble was, a row for each target; None if nothing is known."""
    results = content.ensembles[-1].targets
    parts = [("Out of fold", [result.out_of_fold for result in results])]
    if content.has_test:
        parts.append(("Test", [result.test for result in results]))
    build = _probabilities if content.task == "classification" else _intervals
    return build(content, parts)


def covered_range(coverage: Coverage) -> tuple[float, float]:
    """Return the 95 % interval of a coverage, as shares."""
    low, high = wilson_interval(coverage.share * coverage.n, coverage.n)
    return float(low), float(high)


Parts = list[tuple[str, list[Judged | None]]]


def _intervals(content: ReportContent, parts: Parts) -> Table | None:
    judged = [j for _, of_targets in parts for j in of_targets if j]
    levels = sorted({level for j in judged for level in j.coverage})
    if not levels:
        return None
    groups = tuple(
        Group(name, tuple(map(lambda t, j: _covered(t, j, levels), content.targets, of_targets)))
        for name, of_targets in parts
    )
    shown = level_shown(dict.fromkeys(levels, np.zeros(1)))
    header = ("", "n", *(f"{level} % intervals" for level in levels), f"± at {shown} %")
    caption = (
        f"Share of labels inside the intervals of {content.ensembles[-1].name}, and below it the "
        "share's 95 % interval (Wilson). Last column: half the median width of an interval."
    )
    return Table(caption, header, groups)


def _covered(target: Target, judged: Judged | None, levels: Sequence[int]) -> Row:
    if judged is None:
        return Row(target.name, tuple(Cell(NOTHING) for _ in range(len(levels) + 2)))
    shares = (_share(judged.coverage.get(level)) for level in levels)
    shown = level_shown(dict.fromkeys(levels, np.zeros(1)))
    half = judged.half_widths.get(shown) if shown else None
    known = None if half is None else half[np.isfinite(half)]
    median = as_number(float(np.median(known))) if known is not None and len(known) else NOTHING
    return Row(target.name, (Cell(str(judged.n)), *shares, Cell(median, error_unit(target))))


def _share(coverage: Coverage | None) -> Cell:
    if coverage is None or not coverage.n or not np.isfinite(coverage.share):
        return Cell(NOTHING)
    low, high = covered_range(coverage)
    return Cell(f"{100 * coverage.share:.1f} %", f"[{100 * low:.1f}, {100 * high:.1f}]")


def _probabilities(content: ReportContent, parts: Parts) -> Table | None:
    groups = tuple(
        Group(name, tuple(map(_honesty, content.targets, of_targets))) for name, of_targets in parts
    )
    header = ("", "n", "Share of class 1", "Mean probability", "Calibration error")
    caption = (
        f"Probabilities of {content.ensembles[-1].name}. Calibration error: the mean distance "
        "between predicted probability and observed share over ten bins (0 is perfect)."
    )
    return Table(caption, header, groups)


def _honesty(target: Target, judged: Judged | None) -> Row:
    if judged is None or not judged.n:
        return Row(target.name, tuple(Cell(NOTHING) for _ in range(4)))
    error = expected_calibration_error(judged.mean, judged.labels)
    numbers = (float(judged.labels.mean()), float(judged.mean.mean()), error)
    return Row(target.name, (Cell(str(judged.n)), *(Cell(as_number(x)) for x in numbers)))
