"""Who works or worked on a study, and which trial goes on with which."""

from __future__ import annotations

import os
import socket

import optuna

from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.lineage import ContinuationRow, continuation_rows, driver_states
from chemprop_hpo.storage.ownership import Driver, continue_trial
from tests.conformance.made import silence


def test_each_driver_is_told_with_its_state_and_running_trials(
    db: Database, study: optuna.Study
) -> None:
    left, dead, alive = (Driver.register(db, study) for _ in range(3))
    study_id = db.study_id(study)
    for owner, slot in ((dead, 0), (alive, 1), (alive, 2)):
        db.storage.create_running_trial(study_id, {"driver": owner.id, "slot": slot})
    study.ask()  # another program's
    ended = db.storage.create_running_trial(study_id, {"driver": alive.id, "slot": 3})
    db.storage.set_trial_state_values(ended, optuna.trial.TrialState.FAIL)
    left.leave()
    silence(db, dead)
    states = driver_states(db, study)
    assert [(s.id, s.state, s.trials) for s in states] == [
        (left.id, "left", ()),
        (dead.id, "dead", (0,)),
        (alive.id, "alive", (1, 2)),
    ]
    assert {(s.host, s.pid) for s in states} == {(socket.gethostname(), os.getpid())}
    assert states[0].left_at is not None
    assert states[2].started_at <= states[2].beat_at


def test_continuations_are_told_in_order(db: Database, study: optuna.Study, driver: Driver) -> None:
    study_id = db.study_id(study)
    for slot in range(2):
        db.storage.create_running_trial(study_id, {"driver": driver.id, "slot": slot})
    first, second = study.get_trials()
    continue_trial(db, study, second, driver.id, "orphaned")
    continue_trial(db, study, first, driver.id, "interrupted")
    assert continuation_rows(db, study) == [
        ContinuationRow(0, 3, "interrupted", driver.id),
        ContinuationRow(1, 2, "orphaned", driver.id),
    ]


def test_another_study_has_drivers_and_continuations_of_its_own(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    other = optuna.create_study(storage=db.storage)
    assert driver_states(db, other) == []
    assert continuation_rows(db, other) == []
