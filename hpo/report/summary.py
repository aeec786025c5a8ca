"""What a report comes down to, in a few sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from chemprop_hpo.hpo.report.content import Coverage, Ensemble, ReportContent
from chemprop_hpo.hpo.report.digits import as_percent, with_interval
from chemprop_hpo.hpo.report.figure_names import figure_title, headline_figure, macro_title
from chemprop_hpo.hpo.report.gains import Gains, Part, gains_part, part_of, verdict
from chemprop_hpo.hpo.report.levels import level_shown
from chemprop_hpo.hpo.report.standing import best_out_of_fold, headline, rows_judged
from chemprop_hpo.hpo.report.units import error_unit

__all__ = ["summary"]


def summary(content: ReportContent, gains: Sequence[Gains]) -> tuple[str, ...]:
    """Say how good the last ensemble is, against the first, and how far its intervals held.

    Parameters
    ----------
    gains : sequence of Gains
        Of each target.
    """
    return tuple(_sentences(content, gains))


def _sentences(content: ReportContent, gains: Sequence[Gains]) -> Iterator[str]:
    part = gains_part(content)
    yield _level(content, part)
    if len(content.ensembles) > 1:
        yield _against_first(content, gains, part)
    if content.has_test:
        yield from _choice(content)
    if content.task == "regression":
        yield from _coverage(content, part)
    if not content.has_test:
        yield (
            "No test data were scored. Out-of-fold rows also chose epochs, configurations and "
            "weights, so these figures flatter a little."
        )


def _level(content: ReportContent, part: Part) -> str:
    first, last = content.ensembles[0], content.ensembles[-1]
    sentence = f"{_where(part)}, {last.name} has {_title(content)} {_written(content, last, part)}"
    if first is last or headline(content, first, part) is None:
        return f"{sentence}."
    return f"{sentence}; {first.name} has {_written(content, first, part)}."


def _where(part: Part) -> str:
    return "On test data" if part == "test" else "Out of fold"


def _title(content: ReportContent) -> str:
    if len(content.targets) > 1:
        return f"a {macro_title(content.task).replace('Mean', 'mean')} of"
    name = figure_title(headline_figure(content.task))
    return f"an {name} of" if name[0] in "AEIORU" else f"a {name} of"


def _written(content: ReportContent, ensemble: Ensemble, part: Part) -> str:
    value, ends = with_interval(headline(content, ensemble, part))
    several = len(content.targets) > 1
    unit = "" if several or content.task != "regression" else error_unit(content.targets[0])
    return " ".join(word for word in (value, ends, unit) if word)


def _against_first(content: ReportContent, gains: Sequence[Gains], part: Part) -> str:
    if all(of_target[-1] is None for of_target in gains):
        ends = (content.ensembles[0], content.ensembles[-1])
        first, last = (rows_judged(ensemble, part) for ensemble in ends)
        return (
            f"The two figures are not strictly comparable: {content.ensembles[0].name} was judged "
            f"on rows of its own ({first} labels against {last})."
        )
    return _by_target(content, gains) if len(content.targets) > 1 else _gain(content, gains)


def _gain(content: ReportContent, gains: Sequence[Gains]) -> str:
    gain, first = gains[0][-1], content.ensembles[0].name
    value, ends = with_interval(gain)
    loss = "RMSE" if content.task == "regression" else "log loss"
    size = f"{loss}, paired over the same rows, of {value} {ends}".rstrip()
    ways = {
        "better": f"It is clearly better than {first}: a gain in {size}.",
        "worse": f"It is clearly worse than {first}: a gain in {size}.",
        "open": f"Whether it is better than {first} stays open: a gain in {size}.",
    }
    return ways[verdict(gain)]


def _by_target(content: ReportContent, gains: Sequence[Gains]) -> str:
    verdicts = [verdict(of_target[-1]) for of_target in gains]
    better, worse, undecided = (verdicts.count(v) for v in ("better", "worse", "open"))
    return (
        f"Target by target it is clearly better than {content.ensembles[0].name} in {better} of "
        f"{len(gains)} and clearly worse in {worse}; in {undecided} that stays open."
    )


def _choice(content: ReportContent) -> Iterator[str]:
    """Name the best by the figures that one may choose by; to choose by test figures is to fit."""
    best, last = best_out_of_fold(content), content.ensembles[-1]
    if best is None or len(content.ensembles) == 1:
        return
    written = _written(content, best, "out of fold")
    if best is last:
        yield f"Out of fold, {last.name} is the best of all: {written}."
    else:
        other = _written(content, last, "out of fold")
        yield f"Out of fold, {best.name} is the best: {written}; {last.name} has {other}."


def _coverage(content: ReportContent, part: Part) -> Iterator[str]:
    last, n_targets = content.ensembles[-1], len(content.targets)
    judged = [j for i in range(n_targets) if (j := part_of(last, i, part))]
    level = level_shown({k: np.zeros(1) for j in judged for k in j.coverage})
    known = [c for j in judged if level and (c := j.coverage.get(level)) and c.n]
    if known:
        labels = f"{sum(c.n for c in known)} {'test' if part == 'test' else 'out-of-fold'} labels"
        yield (
            f"The {level} % prediction intervals of {last.name} held "
            f"{as_percent(_pooled(known))} of {labels}."
        )


def _pooled(coverages: Sequence[Coverage]) -> float:
    return sum(c.share * c.n for c in coverages) / sum(c.n for c in coverages)
