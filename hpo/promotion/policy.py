"""Decide whether a candidate becomes the champion."""

from __future__ import annotations

from chemprop_hpo.configs.schema import PromotionConfig
from chemprop_hpo.hpo.promotion.comparison import compared
from chemprop_hpo.hpo.promotion.decision import Decision, RuleOutcome, ruled
from chemprop_hpo.hpo.promotion.eligibility import eligible
from chemprop_hpo.hpo.promotion.records import ModelRecord
from chemprop_hpo.hpo.promotion.repeatable import repeatable

__all__ = ["promotable"]


def promotable(
    candidate: ModelRecord,
    champion: ModelRecord | None,
    config: PromotionConfig,
    probability: float | None = None,
    note: str = "",
) -> Decision:
    """Decide whether a candidate replaces the champion.

    It must be eligible, and repeatable: seed, hyperparameters, git commit, dataset and test set
    logged, and the code as committed. Then it is compared with the champion on the same test
    set. The test RMSE must be lower by ``min_test_rmse_improvement``, the MAE of no target
    higher by more than ``max_test_mae_regression``, and the validation R2 not lower by more
    than ``val_r2_tolerance``; of several targets and of a classification `judged_by` names the
    figures in their places.

    Where there is no champion, the first candidate that is eligible and repeatable becomes it.

    Parameters
    ----------
    candidate, champion : ModelRecord
    config : PromotionConfig
    probability : float, optional
        That the candidate is better, of `paired_probability`. It is shown where it is given,
        and asked for where ``min_probability`` is configured.
    note : str
        Why it is not known, or what it leaves out.
    """
    own = (*eligible(candidate, config).rules, *repeatable(candidate, config))
    if champion is None:
        return Decision("promote", (*own, _first()))
    return Decision("promote", (*own, *compared(candidate, champion, config, probability, note)))


def _first() -> RuleOutcome:
    text = "there is no champion; the first candidate that all other rules let pass becomes it"
    return ruled("first_champion", True, text)
