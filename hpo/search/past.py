"""Trials of a study as ASHA's rungs need them."""

from __future__ import annotations

from collections import defaultdict

from optuna import Study
from optuna.trial import FrozenTrial

from chemprop_hpo.hpo.search.asha import PastTrial

__all__ = ["PastTrials"]


class PastTrials:
    """What a study's trials have reported, whoever runs them, a look at a time.

    A trial and its continuations are one chain, known by their common checkpoint folder; where
    both reported an epoch, they reported the same. A finished trial is read once, so that a
    look costs little in a large study.

    Parameters
    ----------
    study : optuna.Study
        With a storage of its own process: what is finished is not fetched again.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._read: set[int] = set()
        self._seen: dict[int, int] = {}

    def look(self) -> list[PastTrial]:
        """Return the chains with epochs that no look before has shown."""
        chains: dict[str, list[FrozenTrial]] = defaultdict(list)
        for trial in self._study.get_trials(deepcopy=False):
            if trial.number not in self._read and self._is_news(trial):
                chains[trial.user_attrs["checkpoint"]].append(trial)
        return [_past(key, links) for key, links in chains.items()]

    def _is_news(self, trial: FrozenTrial) -> bool:
        if trial.state.is_finished():
            self._read.add(trial.number)
        if "checkpoint" not in trial.user_attrs:
            return False
        epochs = len(trial.intermediate_values)
        before, self._seen[trial.number] = self._seen.get(trial.number, 0), epochs
        return epochs > before


def _past(key: str, links: list[FrozenTrial]) -> PastTrial:
    best = {epoch: value for link in links for epoch, value in link.intermediate_values.items()}
    return PastTrial(key, links[0].user_attrs.get("bracket", 0), best)
