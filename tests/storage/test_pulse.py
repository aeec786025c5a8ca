from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import optuna
import pytest
from sqlalchemy import event
from sqlalchemy.engine import make_url

from chemprop_hpo.storage import locations
from chemprop_hpo.storage import pulse as pulsing
from chemprop_hpo.storage.database import Database, open_database
from chemprop_hpo.storage.drivers import Driver
from chemprop_hpo.storage.pulse import Pulse
from chemprop_hpo.storage.tables import drivers


@pytest.fixture
def db(ready_sqlite_url: str) -> Iterator[Database]:
    with open_database(ready_sqlite_url) as db:
        yield db


@pytest.fixture
def locker(ready_sqlite_url: str) -> Iterator[sqlite3.Connection]:
    """Another process's connection, that can hold the file."""
    database = make_url(ready_sqlite_url).database or ""
    with closing(sqlite3.connect(database, isolation_level=None)) as locker:
        yield locker


def until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_its_silence_grows_while_the_database_is_away_and_ends_when_it_is_back(
    db: Database, locker: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locations, "BUSY_TIMEOUT_S", 0.05)
    monkeypatch.setattr(pulsing, "BEAT_EVERY_S", 0.05)
    monkeypatch.setattr(pulsing, "_TRY_AGAIN_EVERY_S", 0.05)
    db.engine.dispose()  # connections that would wait for longer
    study = optuna.create_study(storage=db.storage)
    with Pulse(Driver.register(db, study), study) as pulse:
        locker.execute("BEGIN EXCLUSIVE")
        assert until(lambda: pulse.silent_s() > 0.5)
        locker.execute("ROLLBACK")
        assert until(lambda: pulse.silent_s() < 0.5)


def test_other_drivers_are_not_taken_for_dead_when_this_one_was_cut_off_too(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulsing, "BEAT_EVERY_S", 0.05)
    study = optuna.create_study(storage=db.storage)
    driver, other = Driver.register(db, study), Driver.register(db, study)
    with db.engine.begin() as connection:
        silent = drivers.update().where(drivers.c.id == other.id)
        connection.execute(silent.values(beat_at=db.now() - 300))
    with Pulse(driver, study) as pulse:
        assert pulse.alone
        monkeypatch.setattr(pulsing, "_LONG_SILENCE_S", 0.0)
        assert until(lambda: not pulse.alone)


def test_it_is_left_within_a_second_though_the_database_hangs(
    db: Database, locker: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulsing, "BEAT_EVERY_S", 0.05)
    study = optuna.create_study(storage=db.storage)
    with Pulse(Driver.register(db, study), study) as pulse:
        locker.execute("BEGIN EXCLUSIVE")
        assert until(lambda: pulse.silent_s() > 0.3)  # it waits for the lock, for a minute
        began = time.monotonic()
    assert time.monotonic() - began < 2
    locker.execute("ROLLBACK")


def test_a_beat_that_outlasts_the_database_leaves_no_connection_open(
    ready_sqlite_url: str, locker: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulsing, "BEAT_EVERY_S", 0.05)
    monkeypatch.setattr(pulsing, "_LEAVE_WITHIN_S", 0.05)
    with open_database(ready_sqlite_url) as db:
        db.engine.dispose()
        opened: list[sqlite3.Connection] = []
        event.listen(db.engine, "connect", lambda connection, _: opened.append(connection))
        study = optuna.create_study(storage=db.storage)
        with Pulse(Driver.register(db, study), study) as pulse:
            locker.execute("BEGIN EXCLUSIVE")
            assert until(lambda: pulse.silent_s() > 0.3)
    assert any(map(is_open, opened))  # the thread waits for the lock with it
    locker.execute("ROLLBACK")
    assert until(lambda: not pulse._thread.is_alive())
    assert not any(map(is_open, opened))


def is_open(connection: sqlite3.Connection) -> bool:
    try:
        return connection.in_transaction in (True, False)
    except sqlite3.ProgrammingError:
        return False


def test_it_keeps_no_process_alive(ready_sqlite_url: str) -> None:
    code = (
        "import optuna\n"
        "from chemprop_hpo.storage.database import open_database\n"
        "from chemprop_hpo.storage.drivers import Driver\n"
        "from chemprop_hpo.storage.pulse import Pulse\n"
        f"db = open_database({ready_sqlite_url!r})\n"
        "study = optuna.create_study(storage=db.storage)\n"
        "Pulse(Driver.register(db, study), study).__enter__()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True)
