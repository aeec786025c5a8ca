"""How ensembles stand by the one figure that they are compared by."""

from __future__ import annotations

import math

from chemprop_hpo.hpo.evaluation.bootstrap import Interval
from chemprop_hpo.hpo.report.content import Ensemble, ReportContent
from chemprop_hpo.hpo.report.figure_names import headline_figure, is_better_lower
from chemprop_hpo.hpo.report.gains import Part, part_of

__all__ = ["best_out_of_fold", "headline", "on_all_rows", "rows_judged"]


def headline(content: ReportContent, ensemble: Ensemble, part: Part) -> Interval | None:
    """Return the figure of one target, in transformed units, or the mean figure of several."""
    if len(content.targets) > 1:
        return ensemble.macro_test if part == "test" else ensemble.macro_out_of_fold
    judged = part_of(ensemble, 0, part)
    if judged is None:
        return None
    return (judged.transformed_figures or judged.figures).get(headline_figure(content.task))


def rows_judged(ensemble: Ensemble, part: Part) -> int:
    """Return how many labels an ensemble was judged by, over all targets."""
    judged = (part_of(ensemble, i, part) for i in range(len(ensemble.targets)))
    return sum(j.n for j in judged if j)


def on_all_rows(content: ReportContent, part: Part) -> tuple[bool, ...]:
    """Say of each ensemble whether it was judged on as many rows as any other.

    A single model has out-of-fold predictions of its own fold only: other molecules, and
    perhaps easier ones.
    """
    counts = [rows_judged(ensemble, part) for ensemble in content.ensembles]
    return tuple(n == max(counts) for n in counts)


def best_out_of_fold(content: ReportContent) -> Ensemble | None:
    """Return the ensemble with the best figure out of fold, which is what one may choose by."""
    sign = 1 if is_better_lower(headline_figure(content.task)) else -1
    whole = on_all_rows(content, "out of fold")
    standing = [
        (sign * figure.value, k)
        for k, ensemble in enumerate(content.ensembles)
        if whole[k] and (figure := headline(content, ensemble, "out of fold"))
    ]
    defined = [(value, k) for value, k in standing if math.isfinite(value)]
    return content.ensembles[min(defined)[1]] if defined else None
