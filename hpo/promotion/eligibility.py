"""The rules that a model must satisfy before it is registered."""

from __future__ import annotations

import math

from chemprop_hpo.configs.schema import PromotionConfig
from chemprop_hpo.hpo.evaluation.bounds import at_most
from chemprop_hpo.hpo.promotion.decision import Decision, RuleOutcome, ruled
from chemprop_hpo.hpo.promotion.figures import logged
from chemprop_hpo.hpo.promotion.judged import judged_by
from chemprop_hpo.hpo.promotion.records import ModelRecord
from chemprop_hpo.hpo.promotion.wording import apart

__all__ = ["eligible"]


def eligible(record: ModelRecord, config: PromotionConfig) -> Decision:
    """Decide whether a model may be registered.

    Its training must be complete, its figures logged and finite (`judged_by` names them), and
    its generalisation gap acceptable: at most ``max_generalisation_gap`` standard deviations of
    the training labels. Of several targets the gap is one of NRMSEs and so in these units
    already. Of a classification it is one of cross-entropies, and the bound is in nats.
    """
    return Decision("register", (_completed(record), _figures(record), _gap(record, config)))


def _completed(record: ModelRecord) -> RuleOutcome:
    text = "the training is complete" if record.completed else "the training is not complete"
    return ruled("completed", record.completed, text, record.completed, True)


def _figures(record: ModelRecord) -> RuleOutcome:
    names = judged_by(record).registered
    lacks = [lack for name in names if (lack := logged(record, name).lack)]
    text = f"{', '.join(lacks)}; finite figures are needed" if lacks else "all figures are logged"
    return ruled("metrics", not lacks, text, float(len(names) - len(lacks)), float(len(names)))


def _gap(record: ModelRecord, config: PromotionConfig) -> RuleOutcome:
    name, bound = "generalisation_gap", config.max_generalisation_gap
    gap, (unit, units) = logged(record, name), _unit_of_gap(record)
    allowed = f"at most {bound:g} {units} is allowed"
    if gap.value is None:
        return ruled(name, False, f"{gap.lack}; {allowed}", None, bound)
    if unit is None:
        text = f"{name} {gap.value:.3g} has no unit: the standard deviation of the training"
        return ruled(name, False, f"{text} labels is not logged; {allowed}", None, bound)
    share = gap.value / unit
    text = (
        f"{name} {gap.value:.3g} is {apart(share, bound)[0]} {units}; at most {bound:g} is allowed"
    )
    return ruled(name, at_most(share, bound), text, share, bound)


def _unit_of_gap(record: ModelRecord) -> tuple[float | None, str]:
    if record.task == "classification":
        return 1.0, "nats of cross-entropy"
    std = 1.0 if len(record.targets) > 1 else record.targets[0].label_std
    known = std is not None and math.isfinite(std) and std > 0
    return std if known else None, "training standard deviations"
