"""Decide whether fresh measurements speak for a rollback of the champion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from chemprop_hpo.configs.schema import PromotionConfig
from chemprop_hpo.hpo.evaluation.bootstrap import Interval
from chemprop_hpo.hpo.evaluation.bounds import at_most
from chemprop_hpo.hpo.promotion.decision import Decision, RuleOutcome, ruled
from chemprop_hpo.hpo.promotion.held_out import held_out_error, label_stds
from chemprop_hpo.hpo.promotion.records import ModelRecord
from chemprop_hpo.hpo.promotion.wording import apart, apart_percent

__all__ = ["FreshError", "monitored"]


@dataclass(frozen=True)
class FreshError:
    """What the champion is worth on labels that it has never seen.

    Attributes
    ----------
    figure : Interval
        Of `redrawn_interval`: the RMSE in original units, or the ROC-AUC. Of several targets
        the mean ROC-AUC, or the NRMSE: in transformed units, with the champion's ``label_std``
        as scales.
    labels : mapping of str to int
        The targets that the figure is of, with the number of fresh labels of each. They are
        compared with the test rows' figure of the same targets.
    left_out : mapping of str to str
        Why others, which the fresh labels name too, are not compared.
    """

    figure: Interval
    labels: Mapping[str, int]
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Fresh labels of that target which has the fewest."""
        return min(self.labels.values(), default=0)


def monitored(fresh: FreshError, champion: ModelRecord, config: PromotionConfig) -> Decision:
    """Decide whether the champion is rolled back: it stays unless all rules speak against it.

    Its error on fresh labels must exceed its test error by more than
    ``max_monitored_regression``, and not by chance: the whole bootstrap interval must lie above
    that bound, and there must be ``min_monitored_rows`` of each target, since the interval of a
    few rows is too narrow and that of one row has no width. What is not known never rolls back.

    Returns
    -------
    Decision
        Of the action "roll back": if it is not allowed, the champion is kept.
    """
    same = _same_targets(fresh)
    if not fresh.labels:
        return Decision("roll back", same)
    many = _enough_rows(fresh, config.min_monitored_rows)
    worse = _worse(fresh, champion, config.max_monitored_regression)
    return Decision("roll back", (*same, many, *worse))


def _same_targets(fresh: FreshError) -> tuple[RuleOutcome, ...]:
    """Say which targets are not compared, where there are any."""
    if fresh.labels and not fresh.left_out:
        return ()
    left_out = ", ".join(f"{name} ({why})" for name, why in fresh.left_out.items())
    compared = ", ".join(fresh.labels)
    found = f"compared: {compared}" if compared else "no target can be compared"
    text = f"{found}; left out: {left_out}" if left_out else found
    return (ruled("fresh_targets", bool(compared), text, compared or None),)


def _worse(fresh: FreshError, champion: ModelRecord, tolerated: float) -> tuple[RuleOutcome, ...]:
    error = _as_error(fresh.figure, champion)
    registered = held_out_error(champion, label_stds(champion), tuple(fresh.labels))
    if registered.value is None:
        text = f"{registered.lack}, so that the fresh error has nothing to be compared with"
        return (ruled("registered_error", False, text),)
    if not all(map(math.isfinite, (error.value, error.low, error.high))):
        text = f"the error on fresh labels is {error.value:g}, with no interval around it"
        return (ruled("fresh_error", False, text),)
    return (
        _regression(registered.name, error.value, registered.value, tolerated),
        _beyond_chance(error, registered.value * (1 + tolerated)),
    )


def _as_error(figure: Interval, champion: ModelRecord) -> Interval:
    if champion.task == "regression":
        return figure
    return Interval(1 - figure.value, 1 - figure.high, 1 - figure.low)


def _enough_rows(fresh: FreshError, least: int) -> RuleOutcome:
    rows = fresh.rows
    have = f"{rows} molecules have fresh labels"
    if len(fresh.labels) > 1:
        have = f"each target has fresh labels of {rows} molecules or more"
    text = f"{have}; at least {least} are needed for a rollback"
    return ruled("fresh_rows", rows >= least, text, float(rows), float(least))


def _regression(name: str, fresh: float, registered: float, tolerated: float) -> RuleOutcome:
    bound = registered * (1 + tolerated)
    shown, beside = apart(fresh, registered)
    text = f"{name} of fresh labels is {shown}, that of the test rows {beside}; "
    text += f"more than {apart_percent(tolerated, 0)[0]} above speaks for a rollback"
    return ruled("fresh_error", not at_most(fresh, bound), text, fresh, bound)


def _beyond_chance(error: Interval, bound: float) -> RuleOutcome:
    low, limit = apart(error.low, bound)
    text = (
        f"the interval of the fresh error begins at {low}; above {limit} it speaks for a rollback"
    )
    return ruled("fresh_interval", not at_most(error.low, bound), text, error.low, bound)
