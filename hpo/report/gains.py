"""By how much each ensemble is better than the first, on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from chemprop_hpo.hpo.evaluation.bootstrap import Interval, paired_gain
from chemprop_hpo.hpo.report.content import Ensemble, Judged, ReportContent

__all__ = ["Gains", "Part", "gains", "gains_part", "part_of", "verdict"]

Part = Literal["test", "out of fold"]

Gains = Sequence[Interval | None]
"""The gain of each ensemble over the first, for one target."""


def gains_part(content: ReportContent) -> Part:
    """Return what gains are measured on: test data where there is any."""
    return "test" if content.has_test else "out of fold"


def gains(content: ReportContent, i: int) -> Gains:
    """Return the gain of each ensemble over the first one, for one target.

    It is the RMSE in transformed units, or the log loss, of the first minus that of the other:
    above zero, the other is better. None for the first itself, and where the two were not
    judged on the same rows.
    """
    part = gains_part(content)
    first = part_of(content.ensembles[0], i, part)
    others = (part_of(ensemble, i, part) for ensemble in content.ensembles[1:])
    classification = content.task == "classification"
    return (None, *(_gain(first, other, classification) for other in others))


def part_of(ensemble: Ensemble, i: int, part: Part) -> Judged | None:
    """Return what an ensemble was found to be worth for a target, on one of the parts."""
    result = ensemble.targets[i]
    return result.test if part == "test" else result.out_of_fold


def verdict(gain: Interval | None) -> Literal["better", "worse", "open"]:
    """Say what an interval of a gain allows to say."""
    if gain is None or not gain.low <= gain.high:
        return "open"
    return "better" if gain.low > 0 else "worse" if gain.high < 0 else "open"


def _gain(first: Judged | None, other: Judged | None, classification: bool) -> Interval | None:
    if first is None or other is None or not np.array_equal(first.labels, other.labels):
        return None
    return paired_gain(
        first.mean,
        other.mean,
        first.labels,
        molecules=first.molecules,
        classification=classification,
    )
