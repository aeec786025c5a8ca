from __future__ import annotations

import os
import pickle
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from optuna.trial import TrialState
from sqlalchemy import text

from chemprop_hpo.configs.errors import StorageError
from chemprop_hpo.storage import locations, locks
from chemprop_hpo.storage.database import Database, open_database

PASSWORD = "Geheimnis8"


@pytest.fixture
def db(ready_sqlite_url: str) -> Iterator[Database]:
    with open_database(ready_sqlite_url) as db:
        yield db


def pragma(db: Database, name: str) -> object:
    with db.engine.connect() as connection:
        return connection.execute(text(f"PRAGMA {name}")).scalar_one()


def test_sqlite_writes_ahead_and_waits_a_minute(db: Database) -> None:
    assert pragma(db, "journal_mode") == "wal"
    assert pragma(db, "synchronous") == 1
    assert pragma(db, "busy_timeout") == 60_000


def test_sqlite_on_a_network_keeps_its_rollback_journal(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locations, "_on_network", lambda path: True)
    with open_database(sqlite_url) as db:
        assert pragma(db, "journal_mode") == "delete"
        assert pragma(db, "synchronous") == 2


def test_a_network_mount_is_found_by_its_nearest_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = [("/", "ext4"), ("/mnt", "nfs4"), ("/mnt/lab/local", "ext4")]
    parts = [type("Part", (), {"mountpoint": m, "fstype": f}) for m, f in mounts]
    monkeypatch.setattr("psutil.disk_partitions", lambda all: parts)
    assert locations._on_network(Path("/mnt/lab/studies.db"))
    assert not locations._on_network(Path("/mnt/lab/local/studies.db"))
    assert not locations._on_network(Path("/srv/studies.db"))


def test_a_relative_file_stays_the_same_when_the_folder_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_database("sqlite:///studies.db") as db:
        (tmp_path / "below").mkdir()
        monkeypatch.chdir(tmp_path / "below")
        assert db.storage.get_all_studies() == []
        assert not (tmp_path / "below" / "studies.db").exists()


def test_a_path_may_hold_braces_spaces_and_other_letters(tmp_path: Path) -> None:
    folder = tmp_path / "{müll} 100%"
    folder.mkdir()
    open_database(f"sqlite:///{folder}/studies.db").close()
    assert (folder / "studies.db").exists()


def test_a_reader_leaves_no_file_behind(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no such file"):
        open_database(f"sqlite:///{tmp_path}/studies.db", create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "studies.db"
    path.write_text("smiles,y\nCCO,1.0\n" * 100)
    with pytest.raises(
        StorageError, match=r"studies\.db cannot be used: file is not a database; name another file"
    ):
        open_database(f"sqlite:///{path}")
    assert path.read_text() == "smiles,y\nCCO,1.0\n" * 100


def test_the_database_of_mlflow_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("CREATE TABLE experiments (id INTEGER)")
    with pytest.raises(StorageError, match="another program, MLflow perhaps"):
        open_database(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        mode = connection.execute("PRAGMA journal_mode").fetchone()
    assert names == {"alembic_version", "experiments"}
    assert mode == ("delete",)


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("sqlite://", "would forget everything"),
        ("sqlite:///:memory:", "would forget everything"),
        ("sqlite:////no/such/folder/studies.db", "/no/such/folder is no folder; create it"),
        ("sqlite:////", "is a folder; name a file in it"),
        ("sqlite:///studies.db?mode=ro", "and nothing more"),
        ("studies.db", "is no database URL"),
        ("postgresql://host:port/db", "is no database URL"),
        ("mysql://me:Geheimnis8@host/db", "must be SQLite or PostgreSQL, not mysql"),
        ("postgresql://me:***@host/db", "give the URL again with --storage"),
        ("postgresql://me:Geheim@nis8@host/db", "write an '@' .* as %40"),
    ],
)
def test_a_wrong_url_is_one_clear_line(url: str, advice: str) -> None:
    with pytest.raises(StorageError, match=advice) as caught:
        open_database(url)
    assert "\n" not in str(caught.value)
    assert "nis8" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_name_of_postgresql_means_psycopg_3(scheme: str) -> None:
    url = locations.parse_url(f"{scheme}://me@host/db")
    assert url.drivername == "postgresql+psycopg"


def test_a_missing_driver_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StorageError, match=r"pip install 'chemprop-hpo\[postgres\]'"):
        open_database("postgresql://me@host/db")


@pytest.mark.parametrize("query", ["", "?password=Geheimnis8"])
def test_a_refused_connection_shows_no_password(query: str) -> None:
    password = "" if query else f":{PASSWORD}"
    with pytest.raises(StorageError, match="cannot be used: connection failed") as caught:
        open_database(f"postgresql://me{password}@127.0.0.1:1/db{query}")
    assert "***" in str(caught.value)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


def test_a_server_that_does_not_answer_is_given_up_within_ten_seconds() -> None:
    with _silent_server() as port:
        began = time.monotonic()
        with pytest.raises(StorageError, match="timeout"):
            open_database(f"postgresql://me:{PASSWORD}@127.0.0.1:{port}/db")
        assert time.monotonic() - began < 10


def test_the_drivers_words_are_printed_without_the_password() -> None:
    url = locations.parse_url(f"postgresql://me:{PASSWORD}@host/db")
    from chemprop_hpo.storage.database import _reason

    assert _reason(RuntimeError(f"bad\n\toption {PASSWORD}"), url) == "bad option ***"


def test_a_password_is_neither_shown_nor_pickled(postgres_url: str) -> None:
    with open_database(postgres_url.replace("postgres:@", f"postgres:{PASSWORD}@")) as db:
        assert PASSWORD not in repr(db) + str(db) + db.masked_url + repr(db.engine)
        assert "***" in db.masked_url
        for thing in (db, db.storage):
            with pytest.raises(TypeError, match="not pickled"):
                pickle.dumps(thing)


def test_a_reading_command_opens_without_heavy_imports(ready_sqlite_url: str) -> None:
    code = (
        "import sys, time\n"
        "from chemprop_hpo.storage.database import open_database\n"
        "from chemprop_hpo.storage.studies import list_studies\n"
        f"list_studies(open_database({ready_sqlite_url!r}, create=False))\n"
        "heavy = {'torch', 'ray', 'mlflow', 'lightning', 'pandas', 'chemprop'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert time.process_time() < 2, time.process_time()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_lock_waits_for_its_holder_and_then_gives_up(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "BUSY_TIMEOUT_S", 0.05)
    with db.exclusive(), pytest.raises(StorageError, match="locked by another process"):  # noqa: SIM117
        with db.exclusive():
            pass
    with db.exclusive():
        pass


def test_the_lock_of_postgresql_is_not_held_twice(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_database(postgres_url) as db:
        monkeypatch.setattr(locks, "BUSY_TIMEOUT_S", 1)
        with db.exclusive(), pytest.raises(StorageError, match="locked by another process"):  # noqa: SIM117
            with db.exclusive():
                pass
        with db.exclusive():
            pass


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StorageError, match=r"\.studies\.db\.lock cannot be written: Permission"):
        open_database(f"sqlite:///{tmp_path}/studies.db")


def test_a_state_is_changed_in_one_transaction_that_locks_at_once(db: Database) -> None:
    """Two threads take the same trial; without the lock both would read that it waits."""
    import optuna

    study = optuna.create_study(storage=db.storage)
    for _ in range(30):
        study.enqueue_trial({})
    taken: list[int] = []
    trial_ids = [trial._trial_id for trial in study.trials]
    barrier = threading.Barrier(3)

    def take() -> None:
        barrier.wait(10)
        for trial_id in trial_ids:
            if db.storage.set_trial_state_values(trial_id, TrialState.RUNNING):
                taken.append(trial_id)

    threads = [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == trial_ids


@contextmanager
def _silent_server() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]
