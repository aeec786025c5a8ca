"""Drivers, and the slots that they claim."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
import pytest

from chemprop_hpo.storage import slots as sharing
from chemprop_hpo.storage.database import Database, open_database
from chemprop_hpo.storage.ownership import (
    Driver,
    claim_slot,
    claimed_slots,
    live_drivers,
    release_stale_slots,
)
from chemprop_hpo.storage.slots import may_have_all_trials
from chemprop_hpo.storage.studies import delete_study, open_study
from tests.conformance.made import silence
from tests.conformance.processes import die, in_processes, killed


def test_a_driver_is_alive_until_it_leaves(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    assert [row.id for row in live_drivers(db, study)] == [driver.id]
    driver.leave()
    assert live_drivers(db, study) == []


def test_a_driver_that_does_not_beat_is_dead_until_it_beats_again(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    silence(db, driver)
    assert live_drivers(db, study) == []
    assert driver.beat()
    assert len(live_drivers(db, study)) == 1


def test_a_beat_tells_that_the_study_is_gone(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    silence(db, driver)
    delete_study(db, "esol")
    assert not driver.beat()


def test_a_killed_driver_is_dead_at_once(db: Database, study: optuna.Study, ready_url: str) -> None:
    db.close()
    killed(_register_and_die, ready_url)
    assert live_drivers(db, study) == []


def test_the_lowest_free_slot_is_claimed(db: Database, study: optuna.Study, driver: Driver) -> None:
    gone = Driver.register(db, study)
    assert [claim_slot(db, driver.study_id, driver.id, 3, range(n)) for n in range(2)] == [0, 1]
    assert claim_slot(db, driver.study_id, gone.id, 3, ()) == 2
    assert claim_slot(db, driver.study_id, driver.id, 3, {0, 1}) is None
    gone.leave()
    release_stale_slots(db, study)
    assert [claim_slot(db, driver.study_id, driver.id, 5, range(n)) for n in (2, 3)] == [2, 3]


def test_a_slot_whose_claim_was_not_answered_is_claimed_first(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    other = Driver.register(db, study)
    claim_slot(db, driver.study_id, other.id, 9, ())
    assert [claim_slot(db, driver.study_id, driver.id, 9, used) for used in ((), {1})] == [1, 2]
    assert claim_slot(db, driver.study_id, driver.id, 9, {1}) == 2
    assert claim_slot(db, driver.study_id, driver.id, 9, {1, 2}) == 3
    assert claim_slot(db, driver.study_id, driver.id, 1, ()) is None


def test_a_study_may_have_all_trials_when_each_slot_is_claimed_and_none_is_open(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    def may(total: int) -> bool:
        return may_have_all_trials(db, driver.study_id, total)

    assert may(0)
    trial = study.ask()
    claim_slot(db, driver.study_id, driver.id, 2, ())
    assert not may(1)
    study.tell(trial, 1.0)
    assert may(1)
    assert not may(2)
    claim_slot(db, driver.study_id, driver.id, 2, {0})
    assert may(2)
    study.enqueue_trial({})
    assert not may(2)


def test_four_processes_claim_forty_slots_once_each(
    db: Database, study: optuna.Study, ready_url: str
) -> None:
    db.close()
    found = in_processes(4, _claim_until_none, ready_url, 40)
    assert sorted(slot for slots in found for slot in slots) == list(range(40))


def test_slots_of_the_dead_are_freed_unless_a_trial_has_them(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    dead = Driver.register(db, study)
    for owner, used in ((dead, ()), (dead, {0}), (driver, ())):
        claim_slot(db, driver.study_id, owner.id, 9, used)
    study.ask().set_user_attr("slot", 1)
    assert release_stale_slots(db, study) == []
    dead.leave()
    assert release_stale_slots(db, study) == [0]
    assert claimed_slots(db, driver.study_id) == {1: dead.id, 2: driver.id}


def test_a_slot_is_not_freed_when_its_driver_wakes_up_and_begins_a_trial(
    db: Database, study: optuna.Study, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    slot = claim_slot(db, driver.study_id, driver.id, 9, ())
    silence(db, driver)
    with monkeypatch.context() as before_it_woke_up:
        before_it_woke_up.setattr(study, "get_trials", lambda **_: [])
        db.storage.create_running_trial(driver.study_id, {"driver": driver.id, "slot": slot})
        assert release_stale_slots(db, study) == []
    assert claimed_slots(db, driver.study_id) == {0: driver.id}


def test_a_driver_that_comes_while_one_looks_keeps_its_slot(
    db: Database, study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    comers: list[Driver] = []

    def come_after(look: Callable[..., Any]) -> Callable[..., Any]:
        def looked(*args: Any) -> Any:
            seen = look(*args)
            if not comers:
                comers.append(Driver.register(db, study))
                assert claim_slot(db, comers[0].study_id, comers[0].id, 9, ()) == 0
            return seen

        return looked

    monkeypatch.setattr(sharing, "claimed_slots", come_after(sharing.claimed_slots))
    monkeypatch.setattr(sharing.Roster, "of", come_after(sharing.Roster.of))
    assert release_stale_slots(db, study) == []
    assert list(claimed_slots(db, db.study_id(study))) == [0]


def _register_and_die(url: str) -> None:
    db = open_database(url)
    Driver.register(db, open_study(db, "esol"))
    die()


def _claim_until_none(url: str, total: int) -> list[int]:
    with open_database(url) as db:
        driver = Driver.register(db, open_study(db, "esol"))
        claimed: list[int] = []
        while (slot := claim_slot(db, driver.study_id, driver.id, total, claimed)) is not None:
            claimed.append(slot)
        return claimed
