"""A trial begins in one transaction with whose it is, and goes to one driver only."""

from __future__ import annotations

import time
from typing import Any

import optuna
import pytest
from optuna.trial import Trial, TrialState

from chemprop_hpo.storage.database import Database, open_database
from chemprop_hpo.storage.optuna_storage import OptunaStorage, SlotLostError
from chemprop_hpo.storage.ownership import (
    Driver,
    claim_slot,
    claimed_slots,
    release_stale_slots,
)
from chemprop_hpo.storage.studies import open_study
from tests.conformance.made import silence, suggest
from tests.conformance.processes import die, in_processes, killed


def test_a_trial_begins_with_its_attributes(db: Database, study: optuna.Study) -> None:
    given = {"driver": "d" * 32, "slot": 4, "seed": 11, "head": "水"}
    trial_id = db.storage.create_running_trial(db.study_id(study), given)
    (trial,) = study.get_trials()
    assert trial._trial_id == trial_id
    assert (trial.number, trial.state, trial.user_attrs) == (0, TrialState.RUNNING, given)
    assert trial.datetime_start is not None
    assert abs(trial.datetime_start.timestamp() - time.time()) < 30


def test_a_study_that_is_open_sees_the_trial_and_suggests_for_it(
    db: Database, study: optuna.Study
) -> None:
    study.tell(study.ask(), 0.5)
    study.get_trials()  # what is cached by now must not hide the next
    trial_id = db.storage.create_running_trial(db.study_id(study), {"driver": "d", "slot": 0})
    study.get_trials(deepcopy=False)
    trial = Trial(study, trial_id)
    assert suggest(trial) == study.trials[1].params
    trial.report(0.25, 1)
    study.tell(trial, 0.25)
    assert study.best_trial.number == 1


def test_what_is_set_is_not_the_samplers_to_choose(db: Database, study: optuna.Study) -> None:
    point = {"ffn_type": "branched", "trunk_n_layers": 3, "max_lr": 0.00123}
    trial_id = db.storage.create_running_trial(db.study_id(study), {"slot": 0}, point)
    study.get_trials(deepcopy=False)
    assert suggest(Trial(study, trial_id)) == point


def test_a_kill_while_a_trial_is_created_leaves_nothing(
    db: Database, study: optuna.Study, ready_url: str
) -> None:
    db.close()
    killed(_create_and_die, ready_url)
    assert study.get_trials() == []


def test_numbers_follow_each_other_though_four_processes_create_trials(
    db: Database, study: optuna.Study, ready_url: str
) -> None:
    db.close()
    in_processes(4, _create_five, ready_url)
    trials = study.get_trials()
    assert [trial.number for trial in trials] == list(range(20))
    assert all(len(trial.user_attrs) == 2 for trial in trials)


def test_a_trial_whose_creation_was_not_answered_is_found_and_not_doubled(
    db: Database, study: optuna.Study
) -> None:
    given = {"driver": "d" * 32, "slot": 4}
    first = db.storage.create_running_trial(db.study_id(study), given)
    assert db.storage.create_running_trial(db.study_id(study), given) == first
    others = [{**given, "slot": 5}, {"slot": 4}, {"seed": 1}, {"seed": 1}]
    ids = {db.storage.create_running_trial(db.study_id(study), other) for other in others}
    assert len(ids | {first}) == 5


def test_the_same_slot_of_another_study_is_another_trial(db: Database, study: optuna.Study) -> None:
    second = optuna.create_study(storage=db.storage)
    given = {"driver": "d" * 32, "slot": 4}
    ids = [db.storage.create_running_trial(db.study_id(s), given) for s in (study, second)]
    assert ids[0] != ids[1]


def test_a_driver_that_slept_begins_no_trial_in_a_slot_that_another_has_by_now(
    db: Database, study: optuna.Study
) -> None:
    asleep, awake = Driver.register(db, study), Driver.register(db, study)
    given = {"driver": asleep.id, "slot": claim_slot(db, asleep.study_id, asleep.id, 9, ())}
    silence(db, asleep)
    assert release_stale_slots(db, study) == [0]
    assert claim_slot(db, awake.study_id, awake.id, 9, ()) == 0
    with pytest.raises(SlotLostError, match="place 0 of the budget went to another driver"):
        db.storage.create_running_trial(asleep.study_id, given)
    assert study.get_trials() == []


def test_a_driver_that_slept_takes_back_a_slot_that_nobody_wanted(
    db: Database, study: optuna.Study
) -> None:
    asleep = Driver.register(db, study)
    given = {"driver": asleep.id, "slot": claim_slot(db, asleep.study_id, asleep.id, 9, ())}
    silence(db, asleep)
    assert release_stale_slots(db, study) == [0]
    db.storage.create_running_trial(asleep.study_id, given)
    assert claimed_slots(db, asleep.study_id) == {0: asleep.id}


def test_a_waiting_trial_is_taken_and_signed(db: Database, study: optuna.Study) -> None:
    study.enqueue_trial({"max_lr": 1e-3}, {"slot": 4})
    (waiting,) = study.get_trials()
    assert db.storage.take_waiting(waiting._trial_id, "d" * 32)
    (trial,) = study.get_trials()
    assert trial.state == TrialState.RUNNING
    assert trial.user_attrs == {"slot": 4, "driver": "d" * 32}
    assert trial.datetime_start is not None
    assert abs(trial.datetime_start.timestamp() - time.time()) < 30


def test_a_trial_that_another_took_or_ended_is_not_taken(db: Database, study: optuna.Study) -> None:
    for _ in range(3):
        study.enqueue_trial({})
    taken, popped, ended = (trial._trial_id for trial in study.get_trials())
    assert db.storage.take_waiting(taken, "first")
    assert not db.storage.take_waiting(taken, "second")
    assert db.storage.take_waiting(taken, "first")  # whose first answer may have been lost
    db.storage.set_trial_state_values(popped, TrialState.RUNNING)
    assert not db.storage.take_waiting(popped, "first")
    db.storage.set_trial_state_values(ended, TrialState.FAIL)
    assert not db.storage.take_waiting(ended, "first")
    assert study.trials[0].user_attrs == {"driver": "first"}


def test_a_kill_while_a_trial_is_taken_leaves_it_waiting(
    db: Database, study: optuna.Study, ready_url: str
) -> None:
    study.enqueue_trial({})
    db.close()
    killed(_take_and_die, ready_url)
    (trial,) = study.get_trials()
    assert (trial.state, trial.user_attrs) == (TrialState.WAITING, {})


def test_each_waiting_trial_goes_to_one_of_four_processes(
    db: Database, study: optuna.Study, ready_url: str
) -> None:
    for _ in range(12):
        study.enqueue_trial({})
    db.close()
    found = in_processes(4, _take_all, ready_url)
    assert sorted(number for numbers, _ in found for number in numbers) == list(range(12))
    owners = {number: owner for numbers, owner in found for number in numbers}
    assert {t.number: t.user_attrs["driver"] for t in study.get_trials()} == owners


def _create_five(url: str) -> None:
    with open_database(url) as db:
        study_id = db.study_id(open_study(db, "esol"))
        driver = Driver.register(db, open_study(db, "esol")).id
        for begun in range(5):
            slot = claim_slot(db, study_id, driver, 20, range(20) if begun else ())
            db.storage.create_running_trial(study_id, {"driver": driver, "slot": slot})


def _take_all(url: str) -> tuple[list[int], str]:
    with open_database(url) as db:
        study = open_study(db, "esol")
        driver = Driver.register(db, study).id
        trials = study.get_trials()
        return [t.number for t in trials if db.storage.take_waiting(t._trial_id, driver)], driver


def _create_and_die(url: str) -> None:
    _die_after_an_attribute()
    with open_database(url) as db:
        db.storage.create_running_trial(db.study_id(open_study(db, "esol")), {"driver": "d"})


def _take_and_die(url: str) -> None:
    _die_after_an_attribute()
    with open_database(url) as db:
        db.storage.take_waiting(open_study(db, "esol").get_trials()[0]._trial_id, "d")


def _die_after_an_attribute() -> None:
    """Kill this process when a trial's attribute was written, before its transaction ends."""
    write = OptunaStorage._set_trial_attr_without_commit

    def write_and_die(*args: Any) -> None:
        write(*args)
        die()

    OptunaStorage._set_trial_attr_without_commit = write_and_die  # type: ignore[method-assign]
