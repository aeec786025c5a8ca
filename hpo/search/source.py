"""Where a driver's next trial comes from: a continuation, a preset point, or the sampler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from optuna import Study
from optuna.trial import Trial, TrialState

from chemprop_hpo.configs.schema import Value
from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.ownership import Driver, claim_slot, release_slot

__all__ = ["TrialSource"]


class TrialSource:
    """Hands out trials until the study's budget is spent.

    The budget is counted in slots that drivers claim in the database, so that several drivers
    together spend it exactly. A continuation keeps the slot of the trial that it continues.
    The slot's number also says which preset point it stands for (base, enqueued, a grid's),
    so that each of those runs once, across drivers and resumes.

    Parameters
    ----------
    db : Database
        Holds the study and the slots.
    study : optuna.Study
        With its sampler set.
    driver : Driver
        Who claims.
    total : int
        The study's budget, in trials.
    presets : sequence of dict
        Points to try first, in order.
    """

    def __init__(
        self,
        db: Database,
        study: Study,
        driver: Driver,
        total: int,
        presets: Sequence[Mapping[str, Value]],
    ) -> None:
        self._db = db
        self._study = study
        self._driver = driver
        self._total = total
        self._presets = presets
        self._spare: int | None = None

    def next_trial(self) -> Trial | None:
        """Return a trial that is now this driver's, or ``None`` when the budget is spent."""
        while True:
            if waiting := self._take_waiting():
                return waiting
            slot = self._claim()
            if slot is None:
                return None
            if slot >= len(self._presets):
                return self._sampled(slot)
            self._study.enqueue_trial(dict(self._presets[slot]), user_attrs={"slot": slot})

    def close(self) -> None:
        """Give back a slot that was claimed and not used."""
        if self._spare is not None:
            release_slot(self._db, self._db.study_id(self._study), self._spare)
            self._spare = None

    def _take_waiting(self) -> Trial | None:
        storage = self._db.storage
        for frozen in self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            if frozen.user_attrs.get("slot", 0) >= self._total:
                continue
            if storage.set_trial_state_values(frozen._trial_id, state=TrialState.RUNNING):
                return Trial(self._study, frozen._trial_id)
        return None

    def _claim(self) -> int | None:
        spare, self._spare = self._spare, None
        if spare is not None:
            return spare
        study_id = self._db.study_id(self._study)
        return claim_slot(self._db, study_id, self._driver.id, self._total)

    def _sampled(self, slot: int) -> Trial:
        trial = self._study.ask()
        if "slot" in trial.user_attrs:  # another driver enqueued it a moment ago: it has its own
            self._spare = slot
        else:
            trial.set_user_attr("slot", slot)
        return trial
