"""One successor for each orphan, whatever is killed."""

from __future__ import annotations

import os
from typing import Any

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from chemprop_hpo.storage import continuations as continuing
from chemprop_hpo.storage.database import Database, open_database
from chemprop_hpo.storage.lineage import ContinuationRow, continuation_rows
from chemprop_hpo.storage.ownership import (
    MAX_RETRIES,
    Driver,
    Roster,
    StopReason,
    continue_trial,
    orphans,
)
from chemprop_hpo.storage.studies import open_study
from tests.conformance.made import begin, suggest
from tests.conformance.processes import dies_at, in_processes


def test_orphans_are_running_trials_of_drivers_that_are_gone(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    gone = Driver.register(db, study)
    for owner in (gone.id, driver.id, "0" * 32):
        study.ask().set_user_attr("driver", owner)
    finished = study.ask()
    finished.set_user_attr("driver", gone.id)
    study.tell(finished, 1.0)
    assert [trial.number for trial in orphans(db, study)] == [2]
    gone.leave()
    assert [trial.number for trial in orphans(db, study)] == [0, 2]


def test_a_trial_of_another_program_is_left_to_it(
    db: Database, study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.ask()
    tomorrow = db.now() + 86_400
    monkeypatch.setattr(db, "now", lambda: tomorrow)
    assert orphans(db, study) == []


def test_a_driver_that_comes_while_one_looks_keeps_its_trial(
    db: Database, study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []

    def come_after_the_first_look(what: str) -> None:
        looks.append(what)
        if len(looks) == 1:
            begin(study, Driver.register(db, study))

    read_trials, read_drivers = study.get_trials, Roster.of

    def get_trials(**kwargs: Any) -> list[FrozenTrial]:
        trials = read_trials(**kwargs)
        come_after_the_first_look("trials")
        return trials

    def of(*args: Any) -> Roster:
        roster = read_drivers(*args)
        come_after_the_first_look("drivers")
        return roster

    monkeypatch.setattr(study, "get_trials", get_trials)
    monkeypatch.setattr(continuing.Roster, "of", of)
    assert orphans(db, study) == []
    assert sorted(looks) == ["drivers", "trials"]
    assert len(read_trials()) == 1


@pytest.mark.parametrize("head", ["regression", "branched"])
def test_a_continuation_arrives_with_every_hyperparameter(
    db: Database, study: optuna.Study, driver: Driver, head: str
) -> None:
    old = begin(study, driver, head)
    old.report(0.5, 3)
    number = continue_trial(db, study, study.trials[0], driver.id, "interrupted")
    assert number == 1
    ended, waiting = study.trials
    assert waiting.state == TrialState.WAITING
    assert ended.state == TrialState.FAIL
    assert ended.datetime_complete is not None
    assert ended.user_attrs["continued_by"] == 1
    assert ended.user_attrs["stop_reason"] == "interrupted"
    assert continuation_rows(db, study) == [ContinuationRow(0, 1, "interrupted", driver.id)]
    new = study.ask()
    assert new.number == 1
    assert suggest(new) == old.params
    assert new.user_attrs == {
        "continues": 0,
        "retry": 0,
        "reached": 3,
        "slot": 4,
        "seed": 11,
        "head": head,
        "checkpoint": "trials/0/epoch_3.pt",
        "bracket": 0,
    }


def test_what_was_set_and_not_asked_for_yet_is_set_again(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    point = {"ffn_type": "branched", "trunk_n_layers": 3, "max_lr": 0.00123}
    given = {"driver": driver.id, "slot": 0}
    db.storage.create_running_trial(db.study_id(study), given, point)
    continue_trial(db, study, study.trials[0], driver.id, "orphaned")
    assert suggest(study.ask()) == point


def test_a_chain_whose_first_trial_had_no_hyperparameters_yet_keeps_its_slot(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    db.storage.create_running_trial(db.study_id(study), {"driver": driver.id, "slot": 5})
    continue_trial(db, study, study.trials[0], driver.id, "orphaned")
    new = study.ask()
    assert new.user_attrs["slot"] == 5
    assert suggest(new)


def test_a_trial_has_one_successor_though_four_processes_want_it(
    db: Database, study: optuna.Study, driver: Driver, ready_url: str
) -> None:
    begin(study, driver)
    driver.leave()
    db.close()
    found = in_processes(4, _continue_first, ready_url)
    assert sorted(found, key=str) == [1, None, None, None]
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]


def test_successors_are_numbered_though_other_trials_are_created_meanwhile(
    db: Database, study: optuna.Study, driver: Driver, ready_url: str
) -> None:
    for slot in range(8):
        given = {"driver": driver.id, "slot": slot}
        db.storage.create_running_trial(db.study_id(study), given)
    driver.leave()
    db.close()
    in_processes(4, _continue_two_and_create_two, ready_url)
    trials = study.get_trials()
    assert [trial.number for trial in trials] == list(range(24))
    assert sorted(t.user_attrs["continues"] for t in trials[8:] if "continues" in t.user_attrs) == [
        *range(8)
    ]


def test_retries_count_only_deaths_and_end(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    begin(study, driver)
    reasons: list[StopReason] = ["orphaned", "interrupted", "orphaned", "time_budget"]
    for reason in reasons:
        continue_trial(db, study, study.trials[-1], driver.id, reason, max_retries=2)
        suggest(study.ask())
    last = study.trials[-1]
    assert last.user_attrs["retry"] == 2
    assert continue_trial(db, study, last, driver.id, "orphaned", max_retries=2) is None
    ended = study.trials[-1]
    assert ended.number == last.number
    assert ended.state == TrialState.FAIL
    assert ended.user_attrs["stop_reason"] == "orphaned"
    assert ended.user_attrs["error"].startswith("given up: its driver died 3 times in a row")
    assert len(continuation_rows(db, study)) == 4


def test_a_trial_that_trains_new_epochs_is_not_given_up(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    begin(study, driver)
    for epoch in range(1, MAX_RETRIES + 4):
        db.storage.set_trial_intermediate_value(study.trials[-1]._trial_id, epoch, 0.5)
        assert continue_trial(db, study, study.trials[-1], driver.id, "orphaned") is not None
        suggest(study.ask())
    assert study.trials[-1].user_attrs["retry"] == 1


def test_epochs_that_were_known_do_not_save_a_trial_from_being_given_up(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    begin(study, driver).report(0.5, 3)
    for repeated in (3, 1, None, 3):  # the checkpoint's own epoch, from scratch, not even that
        assert continue_trial(db, study, study.trials[-1], driver.id, "orphaned") is not None
        suggest(study.ask())
        if repeated is not None:
            db.storage.set_trial_intermediate_value(study.trials[-1]._trial_id, repeated, 0.5)
        if study.trials[-1].user_attrs["retry"] == MAX_RETRIES:
            break
    assert study.trials[-1].user_attrs == study.trials[-1].user_attrs | {"retry": 3, "reached": 3}
    assert continue_trial(db, study, study.trials[-1], driver.id, "orphaned") is None


def test_a_trial_that_ended_by_itself_is_not_continued(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    trial = begin(study, driver)
    stale = study.trials[0]
    study.tell(trial, 0.5)
    assert continue_trial(db, study, stale, driver.id, "orphaned") is None
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE]
    assert continuation_rows(db, study) == []


def test_a_driver_that_slept_cannot_write_to_its_trial_any_more(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    trial = begin(study, driver)
    other = Driver.register(db, study)
    continue_trial(db, study, study.trials[0], other.id, "orphaned")
    with pytest.raises(UpdateFinishedTrialError):
        trial.report(0.5, 1)
    assert continue_trial(db, study, study.trials[0], driver.id, "interrupted") is None
    assert study.trials[0].user_attrs["stop_reason"] == "orphaned"
    assert len(study.trials) == 2


def test_a_kill_at_any_statement_leaves_everything_or_nothing(
    db: Database, study: optuna.Study, driver: Driver, ready_url: str
) -> None:
    begin(study, driver)
    driver.leave()
    db.close()
    statement = 0
    while dies_at(statement, ready_url, _continue_trial_0):
        assert [trial.state for trial in study.get_trials()] == [TrialState.RUNNING]
        assert "continued_by" not in study.trials[0].user_attrs
        assert continuation_rows(db, study) == []
        assert len(orphans(db, study)) == 1
        db.close()
        statement += 1
    assert statement > 8
    assert [trial.state for trial in study.get_trials()] == [TrialState.FAIL, TrialState.WAITING]
    assert len(continuation_rows(db, study)) == 1
    assert orphans(db, study) == []


def _continue_first(url: str) -> int | None:
    with open_database(url) as db:
        return _continue_trial_0(db)


def _continue_trial_0(db: Database) -> int | None:
    study = open_study(db, "esol")
    return continue_trial(db, study, study.trials[0], "d" * 32, "orphaned")


def _continue_two_and_create_two(url: str) -> None:
    with open_database(url) as db:
        study = open_study(db, "esol")
        driver = Driver.register(db, study)
        for turn in range(2):
            for orphan in orphans(db, study):
                if continue_trial(db, study, orphan, driver.id, "orphaned") is not None:
                    break
            given = {"driver": driver.id, "slot": 100 + os.getpid() * 2 + turn}
            db.storage.create_running_trial(db.study_id(study), given)
