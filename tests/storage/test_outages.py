from __future__ import annotations

import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy import insert, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError, PendingRollbackError
from sqlalchemy.orm import Session

from chemprop_hpo.storage import locations, tables
from chemprop_hpo.storage.database import Database, open_database
from chemprop_hpo.storage.drivers import Driver, live_drivers
from chemprop_hpo.storage.engines import new_engine
from chemprop_hpo.storage.outages import is_full, is_outage
from tests.postgres import OwnServer, own_postgres


@pytest.fixture(scope="module")
def own_server() -> Iterator[OwnServer]:
    with own_postgres() as server:
        yield server


@pytest.fixture
def server(own_server: OwnServer) -> Iterator[OwnServer]:
    """A server that runs again after the test."""
    yield own_server
    own_server.start()


@pytest.fixture
def db(ready_url: str) -> Iterator[Database]:
    with open_database(ready_url) as db:
        yield db


@contextmanager
def locked(database: str) -> Iterator[None]:
    """Hold a file of SQLite as another process would."""
    with closing(sqlite3.connect(database)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


def caught(work: Callable[[], object]) -> BaseException:
    with pytest.raises(Exception) as error:  # noqa: PT011  # which one is what the tests are about
        work()
    return error.value


# ----------------------------------------------------------------------------- PostgreSQL


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["restart", "crash"])
def test_a_server_that_stops_is_an_outage_and_used_again_when_it_is_back(
    server: OwnServer, how: signal.Signals
) -> None:
    with open_database(server.url) as db:
        study = optuna.create_study(storage=db.storage)
        driver, trial = Driver.register(db, study), study.ask()
        operations: dict[str, Callable[[], object]] = {
            "write": lambda: trial.report(0.5, 1),
            "read": study.get_trials,
            "end": lambda: db.storage.set_trial_state_values(trial._trial_id, FAILED),
            "beat": driver.beat,
        }
        for operation in operations.values():
            server.stop(how)
            for _ in range(2):  # first the connection breaks, then none can be made
                assert is_outage(caught(operation))
            server.start()
            operation()


def test_a_server_that_was_restarted_unnoticed_is_used_on(server: OwnServer) -> None:
    with open_database(server.url) as db:
        study = optuna.create_study(storage=db.storage)
        trial = study.ask()
        driver = Driver.register(db, study)
        for operation in (lambda: trial.report(0.5, 1), study.get_trials, driver.beat, db.now):
            server.stop(signal.SIGQUIT)
            server.start()
            operation()
        assert study.get_trials()[0].intermediate_values == {1: 0.5}


def test_a_server_that_stops_while_the_lock_is_wanted_is_an_outage(server: OwnServer) -> None:
    """And no other process that holds it."""
    with open_database(server.url) as holder, open_database(server.url) as waiter:
        waiter.now()  # a connection that will wait
        errors: list[BaseException] = []

        def wait_for_it() -> None:
            errors.append(caught(waiter.exclusive().__enter__))

        with pytest.raises(OperationalError), holder.exclusive():  # noqa: PT012  # its end fails too
            thread = threading.Thread(target=wait_for_it)
            thread.start()
            _until_somebody_waits(holder)
            server.stop()
            thread.join()
        assert is_outage(errors[0])


def test_drivers_have_time_to_beat_again_when_the_server_is_back(server: OwnServer) -> None:
    server.stop()
    server.start()
    with open_database(server.url) as db:
        study = optuna.create_study(storage=db.storage)
        driver = Driver.register(db, study)
        with db.engine.begin() as connection:
            before = tables.drivers.update().values(beat_at=db.up_since() - 300)
            connection.execute(before)
        assert [row.id for row in live_drivers(db, study)] == [driver.id]


def test_a_connection_that_breaks_in_use_is_an_outage(server: OwnServer) -> None:
    with open_database(server.url) as db, db.engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        server.stop()
        assert is_outage(caught(lambda: connection.execute(text("SELECT 1"))))


def test_a_session_that_is_used_on_after_its_connection_broke_is_an_outage(
    server: OwnServer,
) -> None:
    """As Optuna does in the midst of a longer read."""
    with open_database(server.url) as db, Session(db.engine) as session:
        session.execute(text("SELECT 1"))
        server.stop()
        caught(lambda: session.execute(text("SELECT 1")))
        error = caught(lambda: session.execute(text("SELECT 1")))
        assert isinstance(error, PendingRollbackError)
        assert is_outage(error)


def test_a_server_that_is_shutting_down_is_an_outage(server: OwnServer) -> None:
    with open_database(server.url) as db:
        with db.engine.connect():
            server.begin_to_stop(signal.SIGTERM)
            error = caught(lambda: open_connection(server.url))
        assert "shutting down" in str(error)
        assert is_outage(error)


def test_a_port_that_refuses_is_an_outage() -> None:
    assert is_outage(caught(lambda: open_connection("postgresql://me@127.0.0.1:1/db")))


@pytest.mark.parametrize(
    ("state", "outage", "full"),
    [
        ("08006", True, False),
        ("25006", True, False),
        ("25P03", True, False),
        ("40P01", True, False),
        ("53300", True, False),
        ("57P01", True, False),
        ("57P03", True, False),
        ("53100", False, True),
        ("22001", False, False),
        ("42501", False, False),
    ],
)
def test_each_code_of_postgresql_is_known(
    postgres_url: str, state: str, outage: bool, full: bool
) -> None:
    complaint = f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$"
    with open_connection(postgres_url) as connection:
        error = caught(lambda: connection.exec_driver_sql(complaint))
    assert (is_outage(error), is_full(error)) == (outage, full)


def test_a_row_that_stays_locked_is_an_outage(ready_postgres_url: str) -> None:
    with open_database(ready_postgres_url) as db, db.engine.begin() as holder:
        holder.execute(text("LOCK TABLE studies"))
        with db.engine.begin() as connection:
            connection.execute(text("SET LOCAL lock_timeout = '50ms'"))
            lock = text("SELECT * FROM studies FOR UPDATE")
            assert is_outage(caught(lambda: connection.execute(lock)))


def test_a_driver_that_fell_asleep_in_a_transaction_holds_nobody_up_for_long(
    ready_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locations, "LOCK_WAIT_S", 0.1)
    monkeypatch.setattr(locations, "IDLE_IN_TRANSACTION_S", 3.0)
    with open_database(ready_postgres_url) as asleep, open_database(ready_postgres_url) as other:
        study_id = asleep.study_id(optuna.create_study(storage=asleep.storage))

        def begin(db: Database) -> int:
            return db.storage.create_running_trial(study_id, {})

        def sleep_in_a_transaction() -> None:
            with asleep.storage.transaction() as session:
                asleep.storage.hold_study(session, study_id)
                assert is_outage(caught(lambda: begin(other)))
                _until_it_works(lambda: begin(other))
                session.execute(text("SELECT 1"))

        assert is_outage(caught(sleep_in_a_transaction))
        assert begin(asleep) == begin(other) - 1  # both work on


def test_a_server_whose_machine_is_gone_is_noticed(postgres_url: str) -> None:
    """A vanished machine cannot be had here; the connection must have been told to look."""
    with open_connection(postgres_url + "&keepalives_idle=77") as connection:
        said = connection.connection.driver_connection.info.get_parameters()
    assert said["tcp_user_timeout"] == "15000"
    assert said["keepalives_interval"] == "3"
    assert said["keepalives_idle"] == "77"  # what the URL says comes first


# ----------------------------------------------------------------------------- SQLite


def test_a_locked_file_is_an_outage_until_it_is_free(
    ready_sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locations, "BUSY_TIMEOUT_S", 0.05)
    with open_database(ready_sqlite_url) as db:
        study = optuna.create_study(storage=db.storage)
        driver, trial = Driver.register(db, study), study.ask()
        operations: list[Callable[[], object]] = [
            lambda: trial.report(0.5, 1),
            lambda: db.storage.set_trial_state_values(trial._trial_id, FAILED),
            driver.beat,
        ]
        for operation in operations:
            with locked(make_url(ready_sqlite_url).database or ""):
                assert is_outage(caught(operation))
            operation()


def test_a_locked_file_without_a_log_cannot_be_read_either(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locations, "BUSY_TIMEOUT_S", 0.05)
    monkeypatch.setattr(locations, "_on_network", lambda path: True)
    with open_database(sqlite_url) as db:
        study = optuna.create_study(storage=db.storage)
        with locked(make_url(sqlite_url).database or ""):
            assert is_outage(caught(study.get_trials))
        assert study.get_trials() == []


def test_a_full_file_is_no_outage_and_loses_nothing(ready_sqlite_url: str) -> None:
    with open_database(ready_sqlite_url) as db:
        study = optuna.create_study(storage=db.storage)
        trial = study.ask()
        _let_no_page_be_added(db)
        error = caught(lambda: trial.set_user_attr("curve", "x" * 100_000))
        assert (is_full(error), is_outage(error)) == (True, False)
        assert study.get_trials()[0].user_attrs == {}
    with closing(sqlite3.connect(make_url(ready_sqlite_url).database or "")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


# ----------------------------------------------------------------------------- both, and neither


def test_a_wrong_statement_is_no_outage(db: Database) -> None:
    def fail(statement: Any) -> BaseException:
        with db.engine.begin() as connection:
            return caught(lambda: connection.execute(statement))

    missing_table, unknown_column = (
        text("SELECT 1 FROM nowhere"),
        text("SELECT nothing FROM trials"),
    )
    row_again = insert(tables.meta).values(version=tables.TABLES_VERSION)
    for statement in (missing_table, unknown_column, row_again):
        error = fail(statement)
        assert not is_outage(error)
        assert not is_full(error)


def test_a_missing_trial_is_no_outage(db: Database) -> None:
    assert not is_outage(caught(lambda: db.storage.get_trial(99)))


def test_a_file_system_without_room_is_full() -> None:
    error = caught(lambda: Path("/dev/full").write_text("x"))
    assert is_full(error)
    assert not is_outage(error)
    assert not is_full(caught(lambda: Path("/nowhere/x").write_text("x")))


FAILED = optuna.trial.TrialState.FAIL


def _until_somebody_waits(db: Database) -> None:
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with db.engine.connect() as connection:
            if connection.execute(waiting).scalar_one():
                return
        time.sleep(0.02)
    raise TimeoutError("nobody waits for the lock")


def _until_it_works(work: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            work()
        except Exception as error:
            if not is_outage(error) or time.monotonic() > deadline:
                raise
        else:
            return


def open_connection(url: str) -> Any:
    return new_engine(locations.parse_url(url)).connect()


def _let_no_page_be_added(db: Database) -> None:
    with db.engine.connect() as connection:  # the pool gives this one to the next who asks
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))
