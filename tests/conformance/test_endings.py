"""A trial ends in one transaction with all that is known of it."""

from __future__ import annotations

from functools import partial
from typing import Any

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.ownership import Driver, continue_trial
from tests.conformance.made import begin
from tests.conformance.processes import dies_at

END: dict[str, Any] = {
    "intermediate_values": {2: 0.25},
    "user_attrs": {"stop_reason": "oom", "epochs": 2},
    "constraints": {"memory": 1.0},
}


@pytest.fixture
def trial(study: optuna.Study, driver: Driver) -> FrozenTrial:
    begin(study, driver).report(0.5, 1)
    return study.get_trials()[0]


def end(db: Database, trial: FrozenTrial, state: TrialState = TrialState.PRUNED) -> None:
    db.storage.finish_trial(trial._trial_id, state, 0.25, **END)


def test_a_trial_ends_with_its_last_values(
    db: Database, study: optuna.Study, trial: FrozenTrial
) -> None:
    end(db, trial)
    (ended,) = study.get_trials()
    assert (ended.state, ended.value) == (TrialState.PRUNED, 0.25)
    assert ended.intermediate_values == {1: 0.5, 2: 0.25}
    assert ended.user_attrs == {**trial.user_attrs, "stop_reason": "oom", "epochs": 2}
    assert ended.constraints == {"memory": 1.0}
    assert ended.datetime_complete is not None
    assert ended.params == trial.params


def test_an_end_whose_answer_was_lost_may_be_told_again(
    db: Database, study: optuna.Study, trial: FrozenTrial
) -> None:
    end(db, trial)
    before = study.get_trials()
    end(db, trial)
    assert study.get_trials() == before


def test_a_trial_that_ended_otherwise_is_left_as_it_is(
    db: Database, study: optuna.Study, trial: FrozenTrial, driver: Driver
) -> None:
    continue_trial(db, study, trial, driver.id, "orphaned")
    before = study.get_trials()
    for state in (TrialState.PRUNED, TrialState.FAIL):
        with pytest.raises(UpdateFinishedTrialError):
            end(db, trial, state)
    with pytest.raises(UpdateFinishedTrialError):
        db.storage.write_trial(trial._trial_id, {2: 0.25}, {"late": 1})
    assert study.get_trials() == before
    study.ask()  # the thread's session is as good as new


def test_what_a_trial_has_reached_may_be_told_again(
    db: Database, study: optuna.Study, trial: FrozenTrial
) -> None:
    for _ in range(2):
        db.storage.write_trial(trial._trial_id, {2: 0.25, 3: 0.125}, {"best_epoch": 3})
    (now,) = study.get_trials()
    assert now.state == TrialState.RUNNING
    assert now.intermediate_values == {1: 0.5, 2: 0.25, 3: 0.125}
    assert now.user_attrs == {**trial.user_attrs, "best_epoch": 3}


def test_a_kill_at_any_statement_leaves_the_trial_running_or_ended(
    db: Database, study: optuna.Study, trial: FrozenTrial, ready_url: str
) -> None:
    db.close()
    statement = 0
    while dies_at(statement, ready_url, partial(end, trial=trial)):
        assert study.get_trials() == [trial]
        db.close()
        statement += 1
    assert statement > 8
    assert study.get_trials()[0].state == TrialState.PRUNED
