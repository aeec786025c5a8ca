"""Where a driver's next trial comes from: a continuation, a preset point, or the sampler."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from optuna import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from chemprop_hpo.configs.schema import Value
from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.ownership import (
    Driver,
    SlotLostError,
    all_drivers,
    claim_slot,
    continue_trial,
    orphans,
    release_stale_slots,
)

__all__ = ["TrialSource"]

log = logging.getLogger(__name__)


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
        self._study_id = db.study_id(study)
        self._driver = driver
        self._total = total
        self._presets = presets
        self._used: set[int] = set()
        self._handed_out: set[int] = set()
        self._in_doubt = False
        self._newest = -1
        """A trial that was there when nothing was in doubt: what was lost came later."""
        self._beats_seen: dict[str, float] = {}

    def next_trial(self) -> Trial | None:
        """Return a trial that is now this driver's, or ``None`` when the budget is spent.

        It may be called again after the database went away in the midst of it: nothing is
        taken twice or lost.
        """
        was_in_doubt, self._in_doubt = self._in_doubt, True
        lost = self._find_lost() if was_in_doubt else None
        trial = self._next(none_lost=not was_in_doubt) if lost is None else self.opened(lost)
        self._in_doubt = False
        if trial is not None:
            self._handed_out.add(trial.number)
        return trial

    def take_up_orphans(self) -> bool:
        """Let trials of dead drivers wait to be continued; return whether anything was found."""
        found = False
        for orphan in orphans(self._db, self._study):
            by = continue_trial(self._db, self._study, orphan, self._driver.id, "orphaned")
            next_step = "it is not continued here" if by is None else f"trial {by} goes on with it"
            log.warning("trial %d has lost its driver; %s", orphan.number, next_step)
            found = True
        return bool(release_stale_slots(self._db, self._study)) or found

    def doubts_another_driver(self) -> bool:
        """Whether a trial runs under a driver that has not beaten since this was first asked.

        It may have died on another machine a moment ago, and its trial be lost to nobody's
        knowledge. Either it beats soon, or a minute of silence shows its trials to be orphans.
        """
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        owners = {trial.user_attrs.get("driver") for trial in running} - {self._driver.id}
        known = all_drivers(self._db, self._study)
        doubted = [
            row
            for row in known.values()
            if row.id in owners and self._beats_seen.setdefault(row.id, row.beat_at) == row.beat_at
        ]
        for row in doubted:
            log.debug("waiting for a beat of process %d on %s", row.pid, row.host)
        return bool(doubted)

    def opened(self, trial_id: int) -> Trial:
        """Return a trial of this driver's as the study has it now."""
        # As `study.ask` does: the sampler must see what other drivers added since, and Optuna's
        # cache the trial that was made beside it.
        self._study._thread_local.cached_all_trials = None
        self._study._get_trials(deepcopy=False, use_cache=True)
        return Trial(self._study, trial_id)

    def _next(self, *, none_lost: bool) -> Trial | None:
        trials = self._study.get_trials(deepcopy=False)
        if waiting := self._take_waiting(trials):
            return waiting
        if none_lost and trials:
            self._newest = trials[-1]._trial_id
        while True:
            slot = claim_slot(
                self._db,
                self._study_id,
                self._driver.id,
                self._total,
                self._used,
                none_lost=none_lost,
            )
            if slot is None:
                return None
            with suppress(SlotLostError):  # this machine slept since it claimed the slot
                trial = self._begin(slot)
                self._used.add(slot)
                return trial

    def _take_waiting(self, trials: Iterable[FrozenTrial]) -> Trial | None:
        for frozen in trials:
            if frozen.state != TrialState.WAITING:
                continue
            if frozen.user_attrs.get("slot", 0) >= self._total:
                continue
            if self._db.storage.take_waiting(frozen._trial_id, self._driver.id):
                return self.opened(frozen._trial_id)
        return None

    def _begin(self, slot: int) -> Trial:
        """Return a new trial: a preset point, or the sampler's."""
        preset = self._presets[slot] if slot < len(self._presets) else None
        signed = {"driver": self._driver.id, "slot": slot}
        create = self._db.storage.create_running_trial
        return self.opened(create(self._study_id, signed, preset, after=self._newest))

    def _find_lost(self) -> int | None:
        """Find what was done although the answer never came: slots used, a trial taken."""
        trials = self._study.get_trials(deepcopy=False)
        self._used |= {t.user_attrs["slot"] for t in trials if "slot" in t.user_attrs}
        for trial in trials:
            mine = trial.user_attrs.get("driver") == self._driver.id
            if mine and trial.state == TrialState.RUNNING and trial.number not in self._handed_out:
                return int(trial._trial_id)
        return None
