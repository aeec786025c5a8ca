"""Trials of a study as ASHA's rungs need them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

from optuna import Study
from optuna.trial import FrozenTrial

from chemprop_hpo.hpo.search.asha import PastTrial
from chemprop_hpo.storage.drivers import Roster

__all__ = ["OtherDrivers", "PastTrials"]


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


class OtherDrivers:
    """Looks at a study's trials where another driver may have reported since the last look.

    A driver that works alone knows what its trials reported, and need not read it again.

    Parameters
    ----------
    past : PastTrials
        Looks at all trials; it has looked once.
    driver_id : str
        The present driver.
    read_roster : callable
        Returns the drivers of the study as they stand now.
    """

    def __init__(self, past: PastTrials, driver_id: str, read_roster: Callable[[], Roster]) -> None:
        self._past = past
        self._driver_id = driver_id
        self._read_roster = read_roster
        self._gone: Mapping[str, object] | None = None
        """The other drivers at the last look, if all of them were gone by then."""

    def look(self) -> list[PastTrial]:
        """Return the chains with epochs that no look before has shown."""
        roster = self._read_roster()
        # One that was taken for gone may have come back, reported, and gone again.
        others = {
            id_: (row.beat_at, row.left_at)
            for id_, row in roster.rows.items()
            if id_ != self._driver_id
        }
        gone = others if all(map(roster.is_gone, others)) else None
        if gone is not None and gone == self._gone:
            return []
        found = self._past.look()
        self._gone = gone
        return found


def _past(key: str, links: list[FrozenTrial]) -> PastTrial:
    best = {epoch: value for link in links for epoch, value in link.intermediate_values.items()}
    return PastTrial(key, links[0].user_attrs.get("bracket", 0), best)
