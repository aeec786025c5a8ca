"""Databases for the tests: a file of SQLite, and a real PostgreSQL that is stopped at the end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, make_url, text

from chemprop_hpo.storage.database import open_database
from tests.postgres import own_postgres


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A database that does not exist yet."""
    return f"sqlite:///{tmp_path}/studies.db"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a server; `TEST_DB_URL` names one that runs already."""
    given = os.environ.get("TEST_DB_URL")
    if given:
        yield given
        return
    with own_postgres() as server:
        # Nothing has to survive a power cut here.
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            _execute(server.url, f"ALTER SYSTEM SET {setting} = off")
        _execute(server.url, "SELECT pg_reload_conf()")
        yield server.url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """An empty database of this test's own."""
    with _new_database(postgres_server, "template1") as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Each kind of database in turn, empty."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(params=["sqlite", "postgres"])
def ready_url(request: pytest.FixtureRequest) -> str:
    """Each kind of database in turn, with its tables made: a copy, which is quicker."""
    url: str = request.getfixturevalue(f"ready_{request.param}_url")
    return url


@pytest.fixture
def ready_sqlite_url(sqlite_template: Path, sqlite_url: str) -> str:
    shutil.copy(sqlite_template, make_url(sqlite_url).database or "")
    return sqlite_url


@pytest.fixture
def ready_postgres_url(postgres_server: str, postgres_template: str) -> Iterator[str]:
    with _new_database(postgres_server, postgres_template) as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "studies.db"
    open_database(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[str]:
    with _new_database(postgres_server, "template1") as url:
        open_database(url).close()
        yield make_url(url).database or ""


@contextmanager
def _new_database(server: str, template: str) -> Iterator[str]:
    name = f"test_{uuid4().hex}"
    _execute(server, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        _execute(server, f'DROP DATABASE "{name}" WITH (FORCE)')


def _execute(server: str, statement: str) -> None:
    url = make_url(server).set(drivername="postgresql+psycopg")
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
