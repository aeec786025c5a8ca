"""The rules that compare a candidate with the champion."""

from __future__ import annotations

import math
from collections.abc import Iterator

from chemprop_hpo.configs.schema import PromotionConfig
from chemprop_hpo.hpo.evaluation.bounds import at_least, at_most, least_fit
from chemprop_hpo.hpo.promotion.decision import RuleOutcome, ruled
from chemprop_hpo.hpo.promotion.figures import Figure, logged
from chemprop_hpo.hpo.promotion.held_out import held_out_error, label_stds
from chemprop_hpo.hpo.promotion.judged import judged_by
from chemprop_hpo.hpo.promotion.records import ModelRecord
from chemprop_hpo.hpo.promotion.wording import apart, apart_percent

__all__ = ["compared"]


def compared(
    candidate: ModelRecord,
    champion: ModelRecord,
    config: PromotionConfig,
    probability: float | None,
    note: str = "",
) -> tuple[RuleOutcome, ...]:
    """Compare figures where they mean the same, and otherwise say why they do not.

    Figures are comparable if task, targets and test set are the same; of several targets the
    transforms too, since an NRMSE is in transformed units. ``note`` tells why the probability is
    not known, or what it leaves out.
    """
    same = tuple(_comparable(candidate, champion))
    if not all(rule.passed for rule in same):
        return same
    figures = judged_by(candidate)
    guards = [_guard(name, candidate, champion, config) for name in figures.guards]
    sure = _probability(probability, config.min_probability, note)
    return (
        *same,
        _improvement(candidate, champion, config.min_test_rmse_improvement),
        *guards,
        _fit(figures.fit, candidate, champion, config.val_r2_tolerance),
        *((sure,) if sure else ()),
    )


# ----------------------------------------------------------------------------- comparable at all


def _comparable(candidate: ModelRecord, champion: ModelRecord) -> Iterator[RuleOutcome]:
    yield _same("same_task", "task", candidate.task, champion.task)
    yield _same("same_targets", "targets", _targets(candidate), _targets(champion))
    ours, theirs = candidate.test_set, champion.test_set
    yield _same("same_test_set", "test set", ours or "not logged", theirs or "not known")


def _same(name: str, noun: str, ours: str, theirs: str) -> RuleOutcome:
    if ours == theirs:
        return ruled(name, True, f"{noun}: the same as the champion's", ours, theirs)
    shown = [side[:12] if name == "same_test_set" else side for side in (ours, theirs)]
    text = f"{noun}: {shown[0]}, the champion's: {shown[1]}; their figures cannot be compared"
    return ruled(name, False, text, ours, theirs)


def _targets(record: ModelRecord) -> str:
    """Name the targets in an order of their own: that of the columns does not matter."""
    several = len(record.targets) > 1
    return ", ".join(
        f"{t.name} ({t.transform})" if several and t.transform != "none" else t.name
        for t in sorted(record.targets, key=lambda t: t.name)
    )


# ----------------------------------------------------------------------------- figures


def _improvement(candidate: ModelRecord, champion: ModelRecord, asked: float) -> RuleOutcome:
    rule, stds = judged_by(candidate).test, label_stds(champion)
    ours, theirs = held_out_error(candidate, stds), held_out_error(champion, stds)
    if ours.value is None or theirs.value is None:
        return _blind(rule, ours, theirs, asked)
    if theirs.value == 0 and asked:
        text = f"the champion's {theirs.name} is 0; nothing can be better"
        return ruled(rule, False, text, None, asked)
    better = _share(theirs.value - ours.value, theirs.value)
    passed = at_most(ours.value, theirs.value * (1 - asked))
    found = _beside(ours.name, ours.value, theirs.value, better, asked)
    wanted = f"at least {_percent(asked, better)}{'' if better > 0 else ' better'} is asked for"
    return ruled(rule, passed, f"{found}; {wanted}", better, asked)


def _guard(
    name: str, candidate: ModelRecord, champion: ModelRecord, config: PromotionConfig
) -> RuleOutcome:
    ours, theirs = logged(candidate, name), logged(champion, name)
    tolerated = config.max_test_mae_regression
    if ours.value is None or theirs.value is None:
        return _blind(name, ours, theirs, tolerated)
    # An error may grow, an area may shrink.
    sign = -1 if candidate.task == "classification" else 1
    worse = _share(sign * (ours.value - theirs.value), theirs.value)
    passed = at_most(sign * ours.value, theirs.value * (sign + tolerated))
    found = _beside(ours.name, ours.value, theirs.value, -worse, tolerated)
    wanted = f"at most {_percent(tolerated, worse)}{'' if worse > 0 else ' worse'} is tolerated"
    return ruled(name, passed, f"{found}; {wanted}", worse, tolerated)


def _fit(name: str, candidate: ModelRecord, champion: ModelRecord, tolerance: float) -> RuleOutcome:
    ours, theirs = logged(candidate, name), logged(champion, name)
    if ours.value is None or theirs.value is None:
        return _blind(name, ours, theirs, None)
    bound = least_fit(theirs.value, tolerance)
    found, least = apart(ours.value, bound)
    text = f"{name} is {found}; at least {least} is asked for, the champion's"
    text += f" {apart(theirs.value, bound)[0]} less {_percent(tolerance, 0)}"
    return ruled(name, at_least(ours.value, bound), text, ours.value, bound)


def _probability(probability: float | None, asked: float | None, note: str) -> RuleOutcome | None:
    """Show the probability, or why it is not known, and demand it where that is configured."""
    name = "probability_better"
    wanted = "none is asked for" if asked is None else f"at least {asked:g} is asked for"
    if probability is None or math.isnan(probability):
        why = f" ({note})" if note else ""
        text = f"the probability that the candidate is better is not known{why}; {wanted}"
        return ruled(name, asked is None, text, None, asked) if note or asked is not None else None
    shown = apart(probability, asked or 0)[0]
    text = f"the candidate is better with a probability of {shown}; {wanted}"
    text += f"; {note}" if note else ""
    return ruled(name, asked is None or at_least(probability, asked), text, probability, asked)


# ----------------------------------------------------------------------------- words


def _blind(name: str, ours: Figure, theirs: Figure, bound: float | None) -> RuleOutcome:
    lacks = [ours.lack, theirs.lack and f"of the champion {theirs.lack}"]
    text = f"{' and '.join(filter(None, lacks))}, so that nothing can be compared"
    return ruled(name, False, text, None, bound)


def _share(difference: float, of: float) -> float:
    """Return a difference as a share, which is infinite if it is one of nothing."""
    if of:
        return difference / of
    return math.copysign(math.inf, difference) if difference else 0.0


def _beside(name: str, ours: float, theirs: float, better: float, bound: float) -> str:
    found, champion = apart(ours, theirs)
    if found == champion:
        return f"{name} {found} equals the champion's"
    word = "better" if better > 0 else "worse"
    much = f"{_percent(better, bound)} " if math.isfinite(better) else ""
    return f"{name} {found} is {much}{word} than the champion's {champion}"


def _percent(share: float, other: float) -> str:
    return apart_percent(abs(share), abs(other))[0]
