"""Let another trial go on where one was interrupted: one successor each, whatever is killed."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import Any, Literal

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import ColumnElement, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.drivers import DEAD_AFTER_S, DriverRow, all_drivers, is_dead
from chemprop_hpo.storage.tables import continuations

__all__ = [
    "MAX_RETRIES",
    "StopReason",
    "continue_trial",
    "mend_continuations",
    "orphans",
    "taken_trials",
]

StopReason = Literal["interrupted", "orphaned", "time_budget"]

MAX_RETRIES = 3
"""How often a trial whose driver died is tried again: it may be what kills the drivers."""

_HANDED_ON = ("slot", "seed", "head", "checkpoint", "bracket")


def orphans(db: Database, study: optuna.Study) -> list[FrozenTrial]:
    """Return the running trials whose driver is dead or has left.

    A trial that nobody signed is one too after a minute: its driver died before it could.
    """
    now, known = db.now(), all_drivers(db, study)
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return [trial for trial in running if _is_orphan(trial, known, now)]


def continue_trial(
    db: Database,
    study: optuna.Study,
    trial: FrozenTrial,
    driver_id: str,
    stop_reason: StopReason,
    *,
    max_retries: int = MAX_RETRIES,
) -> int | None:
    """Enqueue a trial that goes on with a running one, then end the running one as failed.

    The successor waits with the same hyperparameters, seed and slot. Being killed on the way
    does no harm: `mend_continuations` carries it through.

    Parameters
    ----------
    db, study : Database, optuna.Study
        Where the trial is.
    trial : FrozenTrial
        A running trial of this driver, or an orphan. What it says now is read again.
    driver_id : str
        The driver that does this.
    stop_reason : {"interrupted", "orphaned", "time_budget"}
        Why the trial ended. Only ``orphaned`` counts as a retry.
    max_retries : int
        An orphan with that many retries behind it fails for good.

    Returns
    -------
    int or None
        The successor's number; None if the trial is not continued, or by another driver.
    """
    link = _Link(db, study, trial.number, driver_id, stop_reason)
    now = link.read_trial()
    if now.state != TrialState.RUNNING:
        return None
    if stop_reason == "orphaned" and now.user_attrs.get("retry", 0) >= max_retries:
        link.fail(error=f"given up: its driver died {max_retries + 1} times while it ran")
        return None
    if not _has_begun(now):
        link.fail(error="its driver died before it had any hyperparameters")
        return None
    return link.carry_out() if link.claim() else None


def mend_continuations(db: Database, study: optuna.Study, driver_id: str) -> list[int]:
    """Carry through what a driver had begun when it died; return the successors' numbers."""
    now, known = db.now(), all_drivers(db, study)
    mended = [
        _mend(db, study, row, driver_id)
        for row in _claims(db, study)
        if row.driver_id == driver_id or _is_gone(row.driver_id, known, now)
    ]
    return [number for number in mended if number is not None]


def taken_trials(db: Database, study: optuna.Study, driver_id: str) -> set[int]:
    """Return the trials that other drivers go on with.

    A driver that was asleep finds its own among them, and must write nothing more to those.
    """
    return {row.continues for row in _claims(db, study) if row.driver_id != driver_id}


# ----------------------------------------------------------------------------- one continuation


@dataclass(frozen=True)
class _Link:
    """A trial and its successor. Each step may be repeated, and so may all of them."""

    db: Database
    study: optuna.Study
    number: int
    driver_id: str
    stop_reason: str

    def claim(self) -> bool:
        """Become the one who continues the trial."""
        row = insert(continuations).values(
            study_id=self.db.study_id(self.study),
            continues=self.number,
            driver_id=self.driver_id,
            stop_reason=self.stop_reason,
        )
        try:
            with self.db.engine.begin() as connection:
                connection.execute(row)
        except IntegrityError:
            return False
        return True

    def carry_out(self) -> int | None:
        """Do what follows the claim, and return the successor's number."""
        if self.read_trial().state.is_finished() and not self.successors():
            self.give_up()  # it ended by itself just before
            return None
        successor = self.enqueue()
        if not self.note(successor):
            return None  # another driver took this one for dead, and carries it out
        self.fail(continued_by=successor)
        if self.is_replaced_by(successor):
            return successor
        self.give_up()
        return None

    def enqueue(self) -> int:
        """Make the successor wait, unless it is there already; return its number."""
        if not self.successors():
            trial = self.read_trial()
            self.study.enqueue_trial(_all_params(trial), self.successor_attributes(trial))
        return self.successors()[0].number

    def successor_attributes(self, trial: FrozenTrial) -> dict[str, Any]:
        """Return the user attributes that the successor begins with."""
        retry = trial.user_attrs.get("retry", 0) + (self.stop_reason == "orphaned")
        handed_on = {key: trial.user_attrs[key] for key in _HANDED_ON if key in trial.user_attrs}
        return {"continues": self.number, "retry": retry, **handed_on}

    def note(self, successor: int) -> bool:
        """Write down who the successor is; False if the claim is another driver's by now."""
        mine = self.claim_is() & (continuations.c.driver_id == self.driver_id)
        with self.db.engine.begin() as connection:
            done = update(continuations).where(mine).values(continued_by=successor)
            kept = connection.execute(done).rowcount == 1
            query = select(continuations.c.continued_by).where(self.claim_is())
            noted = connection.execute(query).scalar()
        if noted is not None:
            self.withdraw(keep=noted)
        return kept

    def fail(self, **attributes: Any) -> None:
        """End the trial as failed, unless it has ended."""
        trial_id = self.trial_id()
        attributes = {"stop_reason": self.stop_reason, **attributes}
        with contextlib.suppress(UpdateFinishedTrialError):
            for key, value in attributes.items():
                self.db.storage.set_trial_user_attr(trial_id, key, value)
            self.db.storage.set_trial_state_values(trial_id, TrialState.FAIL)

    def is_replaced_by(self, successor: int) -> bool:
        """Whether the trial ended as continued, and not by itself in the meantime."""
        trial = self.read_trial()
        continued = trial.user_attrs.get("continued_by") == successor
        return continued and trial.state == TrialState.FAIL

    def give_up(self) -> None:
        """Take everything back: the trial ended by itself."""
        self.withdraw(keep=None)
        with self.db.engine.begin() as connection:
            connection.execute(delete(continuations).where(self.claim_is()))

    def withdraw(self, keep: int | None) -> None:
        """End the successors that still wait, apart from one."""
        for trial in self.successors():
            if trial.number != keep and trial.state == TrialState.WAITING:
                replace(self, number=trial.number).fail(error="withdrawn: it was not needed")

    def successors(self) -> list[FrozenTrial]:
        """Return the trials that go on with this one: one, or two after a close race."""
        trials = self.study.get_trials(deepcopy=False)
        return [trial for trial in trials if trial.user_attrs.get("continues") == self.number]

    def read_trial(self) -> FrozenTrial:
        """Return the trial as it is now."""
        return self.db.storage.get_trial(self.trial_id())

    def trial_id(self) -> int:
        """Return the number under which Optuna keeps the trial."""
        study_id = self.db.study_id(self.study)
        return self.db.storage.get_trial_id_from_study_id_trial_number(study_id, self.number)

    def claim_is(self) -> ColumnElement[bool]:
        """Return the condition that finds the claim on this trial."""
        in_study = continuations.c.study_id == self.db.study_id(self.study)
        return in_study & (continuations.c.continues == self.number)


# ----------------------------------------------------------------------------- mending


def _mend(db: Database, study: optuna.Study, row: Row[Any], driver_id: str) -> int | None:
    link = _Link(db, study, row.continues, driver_id, row.stop_reason)
    if row.continued_by is not None and link.is_replaced_by(row.continued_by):
        return None
    return link.carry_out() if _take_over(db, row, driver_id) else None


def _take_over(db: Database, row: Row[Any], driver_id: str) -> bool:
    same = (continuations.c.id == row.id) & (continuations.c.driver_id == row.driver_id)
    with db.engine.begin() as connection:
        mine = update(continuations).where(same).values(driver_id=driver_id)
        return connection.execute(mine).rowcount == 1


def _claims(db: Database, study: optuna.Study) -> list[Row[Any]]:
    query = select(continuations).where(continuations.c.study_id == db.study_id(study))
    with db.engine.connect() as connection:
        return list(connection.execute(query.order_by(continuations.c.continues)))


# ----------------------------------------------------------------------------- what a trial says


def _is_orphan(trial: FrozenTrial, known: dict[str, DriverRow], now: float) -> bool:
    driver_id = trial.user_attrs.get("driver")
    if driver_id is not None:
        return _is_gone(driver_id, known, now)
    began = trial.datetime_start
    return began is not None and now - began.timestamp() > DEAD_AFTER_S


def _is_gone(driver_id: str, known: dict[str, DriverRow], now: float) -> bool:
    return driver_id not in known or is_dead(known[driver_id], now)


def _has_begun(trial: FrozenTrial) -> bool:
    return bool(_all_params(trial)) or "slot" in trial.user_attrs


def _all_params(trial: FrozenTrial) -> dict[str, Any]:
    """Return what was suggested, and what was enqueued but not asked for before the end."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}
