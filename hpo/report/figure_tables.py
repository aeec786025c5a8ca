"""The tables of figures: one of all ensembles, and one for each target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from chemprop_hpo.hpo.evaluation.bootstrap import Interval
from chemprop_hpo.hpo.report.content import Ensemble, Judged, ReportContent, Target
from chemprop_hpo.hpo.report.digits import NOTHING
from chemprop_hpo.hpo.report.figure_names import (
    figure_order,
    figure_title,
    headline_figure,
    is_better_lower,
    macro_figure,
    macro_title,
)
from chemprop_hpo.hpo.report.gains import Gains, Part, gains_part, part_of, verdict
from chemprop_hpo.hpo.report.standing import headline, rows_judged
from chemprop_hpo.hpo.report.tables import Cell, Group, Row, Table, figure_cell
from chemprop_hpo.hpo.report.units import error_unit

__all__ = ["by_target", "overview", "target_table"]

Figures = Mapping[str, Interval]

PARTS: tuple[tuple[Part, str], ...] = (("out of fold", "Out of fold"), ("test", "Test"))


def overview(content: ReportContent, gains: Sequence[Gains]) -> Table:
    """Compare all ensembles by one figure.

    Parameters
    ----------
    gains : sequence of Gains
        Of each target.
    """
    several = len(content.targets) > 1
    parts = [part for part in PARTS if part[0] == "out of fold" or content.has_test]
    columns = [_overview_column(content, part) for part, _ in parts]
    columns.append([_gain_cell(gains, k, several) for k in range(len(content.ensembles))])
    title, last = _overview_title(content), "Better / worse / open" if several else "Gain"
    cells = zip(*columns, strict=True)
    rows = tuple(Row(e.name, of_e) for e, of_e in zip(content.ensembles, cells, strict=True))
    header = ("", *(f"{title}, {name.lower()}" for _, name in parts), last)
    return Table(_overview_caption(content), header, (Group("", rows),))


def by_target(content: ReportContent) -> Table | None:
    """Compare all ensembles target by target by the figure of `overview`; None for one target."""
    if len(content.targets) == 1:
        return None
    name, part = macro_figure(content.task), gains_part(content)
    rows = tuple(
        Row(target.name, tuple(_across(content, i, name, part)))
        for i, target in enumerate(content.targets)
    )
    where = "on test data" if part == "test" else "out of fold"
    caption = f"{figure_title(name)} of each target {where}; the best of each row in bold."
    header = ("", *(ensemble.name for ensemble in content.ensembles))
    return Table(caption, header, (Group("", rows),))


def target_table(content: ReportContent, i: int, gains: Gains) -> Table:
    """Compare all ensembles by all figures of one target, in both of its units."""
    target = content.targets[i]
    names = figure_order({name for e in content.ensembles for name in _names(e, i)})
    groups = tuple(
        _group(content, i, part, title, names, gains) for part, title in _groups(content, target, i)
    )
    header = ("", "n", *(figure_title(name) for name in names), "Gain")
    what = "RMSE" if content.task == "regression" else "log loss"
    caption = (
        "Below each figure its 95 % bootstrap interval; the best of each column in bold. Gain: by "
        f"how much the {what} is lower than that of {content.ensembles[0].name} on the same rows."
    )
    return Table(caption, header, groups)


# ----------------------------------------------------------------------------- overview


def _overview_title(content: ReportContent) -> str:
    if len(content.targets) > 1:
        return macro_title(content.task)
    name = headline_figure(content.task)
    unit = error_unit(content.targets[0]) if content.task == "regression" else ""
    return f"{figure_title(name)} ({unit})" if unit else figure_title(name)


def _overview_column(content: ReportContent, part: Part) -> list[Cell]:
    figures = [headline(content, ensemble, part) for ensemble in content.ensembles]
    counts = [rows_judged(ensemble, part) for ensemble in content.ensembles]
    cells = _column(figures, counts, is_better_lower(headline_figure(content.task)))
    return [
        replace(cell, detail=f"{cell.detail} of {n} rows")
        if cell.detail and n < max(counts)
        else cell
        for cell, n in zip(cells, counts, strict=True)
    ]


def _gain_cell(gains: Sequence[Gains], k: int, several: bool) -> Cell:
    if not several:
        return figure_cell(gains[0][k])
    if k == 0:
        return Cell("")
    if all(of_target[k] is None for of_target in gains):
        return Cell(NOTHING)
    verdicts = [verdict(of_target[k]) for of_target in gains]
    return Cell(" / ".join(str(verdicts.count(v)) for v in ("better", "worse", "open")))


def _overview_caption(content: ReportContent) -> str:
    first, part = content.ensembles[0].name, gains_part(content)
    loss = "RMSE" if content.task == "regression" else "log loss"
    if len(content.targets) > 1:
        return (
            f"{macro_title(content.task)}, with 95 % bootstrap intervals; the best in bold. Last "
            f"column: in how many targets an ensemble is clearly better or worse than {first}, and "
            f"in how many that stays open. Clearly: the 95 % interval of the gain in {loss} "
            f"({part}, paired over the same rows) does not hold zero."
        )
    return (
        f"With 95 % bootstrap intervals; the best in bold. Gain: by how much the {loss} is lower "
        f"than that of {first} on the same rows ({part}, paired); where the "
        "interval lies above zero, the gain is clear."
    )


def _across(content: ReportContent, i: int, name: str, part: Part) -> list[Cell]:
    judged = [part_of(ensemble, i, part) for ensemble in content.ensembles]
    figures = [_figures(j, _has_transformed(judged)).get(name) for j in judged]
    return _column(figures, [j.n if j else 0 for j in judged], is_better_lower(name))


# ----------------------------------------------------------------------------- a target


def _names(ensemble: Ensemble, i: int) -> Iterator[str]:
    for part, _ in PARTS:
        judged = part_of(ensemble, i, part)
        yield from judged.figures if judged else ()


def _groups(
    content: ReportContent, target: Target, i: int
) -> Iterator[tuple[tuple[Part, bool], str]]:
    """Yield the part, whether transformed units are meant, and the group's title."""
    for part, name in PARTS:
        found = [j for e in content.ensembles if (j := part_of(e, i, part))]
        if any(judged.transformed_figures for judged in found):
            yield (part, True), f"{name}, in {error_unit(target)}"
        if found:
            unit = target.unit or ("original units" if target.transform != "none" else "")
            yield (part, False), f"{name}, in {unit}" if unit else name


def _group(
    content: ReportContent,
    i: int,
    place: tuple[Part, bool],
    title: str,
    names: Sequence[str],
    gains: Gains,
) -> Group:
    part, transformed = place
    judged = [part_of(ensemble, i, part) for ensemble in content.ensembles]
    counts = [j.n if j else 0 for j in judged]
    figures = [_figures(j, transformed) for j in judged]
    columns = [[Cell(str(n)) for n in counts]]
    columns += [
        _column([f.get(name) for f in figures], counts, is_better_lower(name)) for name in names
    ]
    with_gain = part == gains_part(content) and transformed == _has_transformed(judged)
    columns.append([figure_cell(g) if g and with_gain else Cell("") for g in gains])
    rows = zip(content.ensembles, counts, zip(*columns, strict=True), strict=True)
    return Group(title, tuple(Row(ensemble.name, cells) for ensemble, n, cells in rows if n))


def _column(figures: Sequence[Interval | None], counts: Sequence[int], lower: bool) -> list[Cell]:
    """Return a figure of all ensembles; the best of those judged on the most rows is marked."""
    fair = [f if n == max(counts) else None for f, n in zip(figures, counts, strict=True)]
    best = _best_places(fair, lower)
    return [figure_cell(f, best=k in best) for k, f in enumerate(figures)]


def _figures(judged: Judged | None, transformed: bool) -> Figures:
    if judged is None:
        return {}
    return (judged.transformed_figures or {}) if transformed else judged.figures


def _has_transformed(judged: Sequence[Judged | None]) -> bool:
    return any(j.transformed_figures for j in judged if j)


def _best_places(intervals: Sequence[Interval | None], lower: bool) -> set[int]:
    """Return where the best values stand; nowhere if there is nothing to compare."""
    values = np.array([np.nan if x is None else x.value for x in intervals], dtype=np.float64)
    if np.isfinite(values).sum() < 2:
        return set()
    best = np.nanmin(values) if lower else np.nanmax(values)
    return {int(k) for k in np.flatnonzero(values == best)}
