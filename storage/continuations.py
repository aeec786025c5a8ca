"""Let another trial go on where one was interrupted: one successor each, whatever is killed."""

from __future__ import annotations

from typing import Literal

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import insert

from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.drivers import Roster
from chemprop_hpo.storage.tables import continuations

__all__ = ["MAX_RETRIES", "StopReason", "continue_trial", "orphans"]

StopReason = Literal["interrupted", "orphaned", "time_budget"]

MAX_RETRIES = 3
"""How often a trial whose driver died is tried again before it has trained a new epoch: it may
be what kills the drivers."""

_HANDED_ON = ("slot", "seed", "head", "checkpoint", "bracket")


def orphans(db: Database, study: optuna.Study) -> list[FrozenTrial]:
    """Return the running trials whose driver is dead or has left.

    A trial that no driver has signed is another program's, and left to it.
    """
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    signed = [trial for trial in running if "driver" in trial.user_attrs]
    # After the trials: whoever has signed one is among the drivers by now.
    roster = Roster.of(db, study)
    return [trial for trial in signed if roster.is_gone(trial.user_attrs["driver"])]


def continue_trial(
    db: Database,
    study: optuna.Study,
    trial: FrozenTrial,
    driver_id: str,
    stop_reason: StopReason,
    *,
    max_retries: int = MAX_RETRIES,
) -> int | None:
    """End a running trial as failed, and let one wait that goes on with it.

    The successor has the same hyperparameters, seed and slot. All of this happens in one
    transaction: a kill leaves everything or nothing of it, and of several processes that try
    it one succeeds.

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
        An orphan with that many retries behind it, and no new epoch since, fails for good.

    Returns
    -------
    int or None
        The successor's number; None if the trial is not continued, or had ended.
    """
    study_id = db.study_id(study)
    with db.storage.transaction() as session:
        db.storage.hold_study(session, study_id)
        row = db.storage.hold_trial(session, trial._trial_id)
        if row.state != TrialState.RUNNING:
            return None
        before = db.storage.freeze(row)
        retries = _retries(before) + (stop_reason == "orphaned")
        if retries > max_retries:
            db.storage.fail(session, row, stop_reason=stop_reason, error=_given_up(retries))
            return None
        successor = db.storage.add_trial(session, study_id, _successor(before, retries))
        db.storage.fail(session, row, stop_reason=stop_reason, continued_by=successor.number)
        session.execute(
            insert(continuations).values(
                study_id=study_id,
                continues=before.number,
                continued_by=successor.number,
                driver_id=driver_id,
                stop_reason=stop_reason,
            )
        )
        return int(successor.number)


def _successor(trial: FrozenTrial, retries: int) -> FrozenTrial:
    """Return the trial that will wait."""
    # What was set comes first: not all of it may have been asked for.
    params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    handed_on = {key: trial.user_attrs[key] for key in _HANDED_ON if key in trial.user_attrs}
    return create_trial(
        state=TrialState.WAITING,
        system_attrs={"fixed_params": params},
        user_attrs={
            "continues": trial.number,
            "retry": retries,
            "reached": max(_last_epoch(trial), _reached_before(trial)),
            **handed_on,
        },
    )


def _retries(trial: FrozenTrial) -> int:
    """Return how many drivers died with this chain of trials since its last new epoch."""
    went_on = _last_epoch(trial) > _reached_before(trial)
    return 0 if went_on else int(trial.user_attrs.get("retry", 0))


def _last_epoch(trial: FrozenTrial) -> int:
    return int(trial.last_step or 0)


def _reached_before(trial: FrozenTrial) -> int:
    """Return the last epoch of the chain when this link of it began."""
    return int(trial.user_attrs.get("reached", 0))


def _given_up(deaths: int) -> str:
    return f"given up: its driver died {deaths} times in a row before another epoch was trained"
