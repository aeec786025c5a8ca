"""One successor for each orphan, whatever is killed."""

from __future__ import annotations

import optuna
import pytest
from optuna.trial import TrialState

from chemprop_hpo.storage import continuations as continuing
from chemprop_hpo.storage.database import Database, open_database
from chemprop_hpo.storage.ownership import (
    DEAD_AFTER_S,
    Driver,
    continue_trial,
    mend_continuations,
    orphans,
    taken_trials,
)
from chemprop_hpo.storage.studies import open_study
from tests.conformance.made import age, begin, suggest
from tests.conformance.processes import die, in_processes, killed


def test_orphans_are_running_trials_of_drivers_that_are_gone(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    gone = Driver.register(db, study)
    for owner in (gone.id, driver.id, "0" * 32):
        study.ask().set_user_attr("driver", owner)
    study.ask()  # signed by nobody, and just begun
    finished = study.ask()
    finished.set_user_attr("driver", gone.id)
    study.tell(finished, 1.0)
    assert [trial.number for trial in orphans(db, study)] == [2]
    gone.leave()
    assert [trial.number for trial in orphans(db, study)] == [0, 2]


def test_an_unsigned_trial_is_an_orphan_after_a_minute(
    db: Database, study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.ask()
    later = db.now() + DEAD_AFTER_S + 1
    monkeypatch.setattr(db, "now", lambda: later)
    assert [trial.number for trial in orphans(db, study)] == [0]


@pytest.mark.parametrize("head", ["regression", "branched"])
def test_a_continuation_arrives_with_every_hyperparameter(
    db: Database, study: optuna.Study, driver: Driver, head: str
) -> None:
    old = begin(study, driver, head)
    number = continue_trial(db, study, study.trials[0], driver.id, "interrupted")
    assert number == 1
    waiting, ended = study.trials[1], study.trials[0]
    assert waiting.state == TrialState.WAITING
    assert ended.state == TrialState.FAIL
    assert ended.user_attrs["continued_by"] == 1
    assert ended.user_attrs["stop_reason"] == "interrupted"
    new = study.ask()
    assert new.number == 1
    assert suggest(new) == old.params
    assert new.user_attrs == {
        "continues": 0,
        "retry": 0,
        "slot": 4,
        "seed": 11,
        "head": head,
        "checkpoint": "trials/0/epoch_3.pt",
        "bracket": 0,
    }


def test_an_enqueued_trial_that_was_not_asked_yet_keeps_its_hyperparameters(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    study.enqueue_trial({"ffn_type": "branched", "trunk_n_layers": 3, "max_lr": 0.00123})
    study.ask()
    continue_trial(db, study, study.trials[0], driver.id, "orphaned")
    assert suggest(study.ask()) == {
        "ffn_type": "branched",
        "trunk_n_layers": 3,
        "max_lr": 0.00123,
    }


def test_a_trial_has_one_successor_though_four_processes_want_it(
    db: Database, study: optuna.Study, driver: Driver, ready_url: str
) -> None:
    begin(study, driver)
    driver.leave()
    db.close()
    found = in_processes(4, _continue_orphans, ready_url)
    assert sorted(found, key=str) == [[1], [None], [None], [None]] or sorted(found, key=str) == [
        [1],
        [],
        [],
        [],
    ]
    assert len(study.trials) == 2


def test_retries_count_only_deaths_and_end(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    begin(study, driver)
    for reason in ("orphaned", "interrupted", "orphaned", "time_budget"):
        last = study.trials[-1]
        continue_trial(db, study, last, driver.id, reason, max_retries=2)  # type: ignore[arg-type]  # mypy widens the tuple's strings
        suggest(study.ask())
    last = study.trials[-1]
    assert last.user_attrs["retry"] == 2
    assert continue_trial(db, study, last, driver.id, "orphaned", max_retries=2) is None
    ended = study.trials[-1]
    assert ended.number == last.number
    assert ended.state == TrialState.FAIL
    assert ended.user_attrs["stop_reason"] == "orphaned"
    assert "given up" in ended.user_attrs["error"]


def test_a_trial_that_never_began_fails_without_a_successor(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    study.ask()
    assert continue_trial(db, study, study.trials[0], driver.id, "orphaned") is None
    assert [trial.state for trial in study.trials] == [TrialState.FAIL]


def test_a_trial_that_ended_by_itself_is_not_continued(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    trial = begin(study, driver)
    stale = study.trials[0]
    study.tell(trial, 0.5)
    assert continue_trial(db, study, stale, driver.id, "orphaned") is None
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE]


@pytest.mark.parametrize("step", ["enqueue", "note", "fail", "is_replaced_by"])
def test_a_kill_between_any_two_steps_is_mended(
    db: Database, study: optuna.Study, driver: Driver, ready_url: str, step: str
) -> None:
    old = begin(study, driver)
    driver.leave()
    db.close()
    killed(_continue_and_die, ready_url, step)
    mended = mend_continuations(db, study, Driver.register(db, study).id)
    assert mended == ([] if step == "is_replaced_by" else [1])
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]
    assert study.trials[0].user_attrs["continued_by"] == 1
    assert orphans(db, study) == []
    assert suggest(study.ask()) == old.params
    assert mend_continuations(db, study, Driver.register(db, study).id) == []


def test_what_a_living_driver_has_begun_is_left_to_it(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    begin(study, driver)
    other = Driver.register(db, study)
    link = continuing._Link(db, study, 0, other.id, "orphaned")
    assert link.claim()
    assert mend_continuations(db, study, driver.id) == []
    assert len(study.trials) == 1
    assert mend_continuations(db, study, other.id) == [1]


def test_a_trial_that_ends_while_it_is_being_continued_keeps_its_end(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    trial = begin(study, driver)
    link = continuing._Link(db, study, 0, driver.id, "orphaned")
    assert link.claim()
    link.enqueue()
    study.tell(trial, 0.5)
    assert link.carry_out() is None
    assert [t.state for t in study.trials] == [TrialState.COMPLETE, TrialState.FAIL]
    assert taken_trials(db, study, "nobody") == set()


def test_a_driver_that_slept_leaves_one_successor_and_learns_of_its_loss(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    begin(study, driver)
    other = Driver.register(db, study)
    slept = continuing._Link(db, study, 0, driver.id, "interrupted")
    assert slept.claim()
    age(db, driver, DEAD_AFTER_S + 1)
    assert mend_continuations(db, study, other.id) == [1]
    study.enqueue_trial({"max_lr": 1e-3}, {"continues": 0})  # as if it slept just before this
    assert slept.carry_out() is None
    assert [t.state.name for t in study.trials] == ["FAIL", "WAITING", "FAIL"]
    assert taken_trials(db, study, driver.id) == {0}
    assert taken_trials(db, study, other.id) == set()


def _continue_orphans(url: str) -> list[int | None]:
    with open_database(url) as db:
        study = open_study(db, "esol")
        driver = Driver.register(db, study)
        return [
            continue_trial(db, study, trial, driver.id, "orphaned") for trial in orphans(db, study)
        ]


def _continue_and_die(url: str, step: str) -> None:
    setattr(continuing._Link, step, die)
    _continue_orphans(url)
