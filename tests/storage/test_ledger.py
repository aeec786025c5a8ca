"""Ledgers that cannot be opened or written: one clear line each."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from chemprop_hpo.configs.errors import StorageError, TrackingError
from chemprop_hpo.storage import locks
from chemprop_hpo.storage.database import open_database
from chemprop_hpo.storage.ledger import Intent, Ledger, Move, RegisteredModel, open_ledger
from chemprop_hpo.storage.ledger.tables import LEDGER_VERSION, moves

PASSWORD = "Geheimnis8"
MODEL = RegisteredModel("http://mlflow.lab", "esol")
FIRST = Intent(
    model=MODEL, alias="champion", expected=None, version="1", kind="promote", reason="the first"
)
SECOND = replace(FIRST, expected="1", version="2")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


def refused(work: Callable[[], object]) -> str:
    with pytest.raises(StorageError) as caught:
        work()
    said = str(caught.value)
    assert "\n" not in said
    assert PASSWORD not in said
    assert "promotion.ledger" in said
    return said


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        ("sqlite://", "would forget everything"),
        ("sqlite:////no/such/folder/ledger.db", "/no/such/folder is no folder; create it"),
        ("sqlite:////", "is a folder; name a file in it"),
        ("ledger.db", "is no database URL"),
        (f"mysql://me:{PASSWORD}@host/db", "must be SQLite or PostgreSQL, not mysql"),
        ("postgresql://me:***@host/db", "the password was masked; give it again"),
    ],
)
def test_a_wrong_url_is_told_with_its_key(wrong: str, advice: str) -> None:
    assert advice in refused(lambda: open_ledger(wrong))


def test_a_server_that_is_away_is_told_without_its_password() -> None:
    away = f"postgresql://me:{PASSWORD}@127.0.0.1:1/ledger"
    said = refused(lambda: open_ledger(away))
    assert said.startswith("the ledger postgresql://me:***@127.0.0.1:1/ledger cannot be used: ")
    assert "start the server or correct promotion.ledger" in said


def test_a_ledger_that_does_not_exist_is_empty_for_a_reader_and_not_made(
    tmp_path: Path, url: str
) -> None:
    with open_ledger(url, create=False) as ledger:
        assert not ledger.begun
        assert ledger.history(MODEL) == ()
        assert ledger.reconcile(MODEL, read=lambda _: None, aliases=("champion",)) == ()
        (found,) = ledger.reconcile(MODEL, read=lambda _: "1", aliases=("champion",))
        assert "it was moved by hand" in found.said
        written: list[str] = []
        with pytest.raises(StorageError, match="does not exist, so 'champion' of 'esol' is not"):
            ledger.move(FIRST, read=lambda _: None, write=lambda *_: written.append("alias"))
    assert written == []
    assert list(tmp_path.iterdir()) == []


def test_a_database_without_a_ledger_is_left_alone_by_a_reader(tmp_path: Path, url: str) -> None:
    (tmp_path / "ledger.db").touch()
    assert not open_ledger(url, create=False).begun
    assert (tmp_path / "ledger.db").read_bytes() == b""


def test_a_ledger_that_is_there_is_read_by_a_reader(url: str) -> None:
    with open_ledger(url) as ledger:
        ledger.settle(ledger.intend(FIRST))
    with open_ledger(url, create=False) as ledger:
        assert ledger.begun
        assert ledger.current(MODEL, "champion") == "1"


@pytest.mark.parametrize("answers", [True, False])
def test_what_fails_after_the_write_says_that_the_alias_may_have_moved(
    url: str, answers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: dict[str, str | None] = {"champion": None}

    def write(alias: str, version: str | None) -> None:
        there[alias] = version
        if answers:
            monkeypatch.setattr(Ledger, "settle", away)

    def read(alias: str) -> str | None:
        if there[alias] is not None and not answers:
            raise TrackingError("the server is away")
        return there[alias]

    def away(*_: object) -> Move:
        raise StorageError("the database is away")

    with open_ledger(url) as ledger:
        with pytest.raises((TrackingError, StorageError)) as caught:
            ledger.move(FIRST, read=read, write=write)
        assert str(caught.value).endswith(
            " is away; 'champion' of 'esol' may have moved; see: chemprop-hpo registry status"
        )
        monkeypatch.undo()
        (found,) = ledger.reconcile(MODEL, read=there.get)
        assert (found.outcome, found.recorded) == ("done", "1")


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, url: str) -> None:
    content = b"smiles,y\nCCO,1.0\n" * 100
    (tmp_path / "ledger.db").write_bytes(content)
    assert "cannot be used: file is not a database" in refused(lambda: open_ledger(url))
    assert (tmp_path / "ledger.db").read_bytes() == content


def test_the_database_of_mlflow_is_left_alone(tmp_path: Path, url: str) -> None:
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        connection.execute("CREATE TABLE registered_models (name TEXT)")
    assert "is MLflow's own database; name another" in refused(lambda: open_ledger(url))
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        names = connection.execute("SELECT name FROM sqlite_master").fetchall()
    assert names == [("registered_models",)]


@pytest.mark.parametrize("create", [True, False])
def test_a_ledger_of_a_newer_version_is_left_alone(url: str, create: bool) -> None:
    with open_ledger(url) as ledger, ledger._engine.begin() as connection:
        connection.execute(text("UPDATE chemprop_hpo_ledger SET version = 99"))
    with pytest.raises(StorageError, match=r"newer chemprop-hpo \(tables 99, .* pip install -U"):
        open_ledger(url, create=create)


def test_tables_that_were_half_made_are_made_whole(url: str) -> None:
    with open_ledger(url) as ledger:
        moves.drop(ledger._engine)
        with ledger._engine.begin() as connection:
            connection.execute(text("DELETE FROM chemprop_hpo_ledger"))
    with open_ledger(url) as ledger, ledger._engine.connect() as connection:
        assert ledger.history(MODEL) == ()
        version = connection.execute(text("SELECT version FROM chemprop_hpo_ledger")).scalar_one()
    assert version == LEDGER_VERSION


def test_a_ledger_can_share_a_database_with_studies(
    ready_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "BUSY_TIMEOUT_S", 1)
    with open_ledger(ready_url) as ledger, open_database(ready_url) as db:
        assert ledger.intend(FIRST).state == "intended"
        # A sweep does not wait for a registry.
        with ledger.held(), db.exclusive():
            assert len(ledger.history(MODEL)) == 1


def test_an_intent_survives_a_power_cut(url: str) -> None:
    """What SQLite promises of a rollback journal that is synchronised in full."""
    with open_ledger(url) as ledger, ledger._engine.connect() as connection:
        modes = [
            connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous")
        ]
    assert modes == ["delete", 2]


@pytest.fixture
def others_folder() -> Iterator[Path]:
    """A folder which another user can reach and not write; pytest's own he cannot even enter."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)
        os.chmod(folder, 0o755)


@pytest.mark.parametrize(
    ("folder_mode", "said"),
    [
        (0o555, ".ledger.db.ledger.lock cannot be written: Permission denied"),
        (0o777, "cannot be used: attempt to write a readonly database"),
    ],
)
def test_a_ledger_that_may_only_be_read_is_read_and_not_moved(
    others_folder: Path, folder_mode: int, said: str
) -> None:
    path = others_folder / "ledger.db"
    with open_ledger(f"sqlite:///{path}") as ledger:
        ledger.settle(ledger.intend(FIRST))
    (others_folder / ".ledger.db.ledger.lock").unlink()
    path.chmod(0o444)
    others_folder.chmod(folder_mode)
    assert said in _as_another_user(f"sqlite:///{path}")


def _as_another_user(url: str) -> str:
    fork = multiprocessing.get_context("fork")
    answers = fork.SimpleQueue()
    child = fork.Process(target=_try_to_move, args=(url, answers))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    answer: str = answers.get()
    return answer


def _try_to_move(url: str, answers: multiprocessing.SimpleQueue[str]) -> None:
    if os.getuid() == 0:  # who may write everything
        os.setgid(65534)
        os.setuid(65534)
    with open_ledger(url) as ledger:
        assert len(ledger.history(MODEL)) == 1
        try:
            ledger.move(SECOND, read=lambda _: "1", write=lambda *_: None)
        except StorageError as error:
            answers.put(str(error))


def test_a_ledger_shows_no_password_and_is_not_pickled(postgres_url: str) -> None:
    with open_ledger(postgres_url.replace("postgres:@", f"postgres:{PASSWORD}@")) as ledger:
        assert isinstance(ledger, Ledger)
        assert PASSWORD not in repr(ledger) + ledger.masked_url
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(ledger)


def test_a_ledger_opens_without_heavy_imports(url: str) -> None:
    code = (
        "import sys\n"
        "from chemprop_hpo.storage.ledger import open_ledger\n"
        f"open_ledger({url!r})\n"
        "heavy = {'torch', 'ray', 'mlflow', 'optuna', 'pandas', 'chemprop'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
