"""A driver beats for as long as it works."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import optuna
import pytest
from sqlalchemy import delete

from chemprop_hpo.storage import pulse as pulsing
from chemprop_hpo.storage import tables
from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.ownership import Driver, all_drivers
from chemprop_hpo.storage.pulse import Pulse


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulsing, "BEAT_EVERY_S", 0.05)
    monkeypatch.setattr(pulsing, "_TRY_AGAIN_EVERY_S", 0.02)


def until(condition: Callable[[], bool]) -> bool:
    """Wait for what must come; say whether it came."""
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_it_beats_while_the_process_does_something_else(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    def beat_at() -> float:
        return all_drivers(db, study)[driver.id].beat_at

    with Pulse(driver, study) as pulse:
        begun = beat_at()
        assert until(lambda: beat_at() > begun)
        assert pulse.silent_s() < 10
    left = beat_at()
    assert not any(thread.name == "chemprop-hpo-pulse" for thread in threading.enumerate())
    assert beat_at() == left


def test_it_knows_whether_others_work_on_the_study(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    with Pulse(driver, study) as pulse:
        assert pulse.alone
        other = Driver.register(db, study)
        assert until(lambda: not pulse.alone)
        other.leave()
        assert until(lambda: pulse.alone)


def test_it_is_not_alone_beside_another_from_the_start(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    Driver.register(db, study)
    with Pulse(driver, study) as pulse:
        assert not pulse.alone


def test_it_tells_that_the_study_was_deleted(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    with Pulse(driver, study) as pulse:
        assert not pulse.deleted
        with db.engine.begin() as connection:
            connection.execute(delete(tables.drivers))  # which `delete_study` does at its end
        assert until(lambda: pulse.deleted)


def test_an_error_that_nobody_expects_does_not_end_it(
    db: Database, study: optuna.Study, driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    with Pulse(driver, study) as pulse:
        with db.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE chemprop_hpo_drivers RENAME TO gone")
        assert until(lambda: "could not beat" in caplog.text)
        silent = pulse.silent_s()
        with db.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE gone RENAME TO chemprop_hpo_drivers")
        assert until(lambda: pulse.silent_s() < silent)
