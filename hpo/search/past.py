"""Trials of a study as ASHA's rungs need them."""

from __future__ import annotations

from collections import defaultdict

from optuna import Study
from optuna.trial import FrozenTrial

from chemprop_hpo.hpo.search.asha import PastTrial

__all__ = ["past_trials"]


def past_trials(study: Study) -> list[PastTrial]:
    """Return every chain of trials with its running best by epoch.

    A trial and its continuations are one chain, known by their common checkpoint folder; where
    both reported an epoch, they reported the same.
    """
    chains: dict[str, list[FrozenTrial]] = defaultdict(list)
    for trial in study.get_trials(deepcopy=False):
        if trial.intermediate_values and "checkpoint" in trial.user_attrs:
            chains[trial.user_attrs["checkpoint"]].append(trial)
    return [_past(key, links) for key, links in chains.items()]


def _past(key: str, links: list[FrozenTrial]) -> PastTrial:
    best = {epoch: value for link in links for epoch, value in link.intermediate_values.items()}
    return PastTrial(key, links[0].user_attrs.get("bracket", 0), best)
