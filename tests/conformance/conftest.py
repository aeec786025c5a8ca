"""What every database must do: these run on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import optuna
import pytest
from sqlalchemy import create_engine, make_url, text

from chemprop_hpo.storage.database import Database, open_database
from chemprop_hpo.storage.ledger import Ledger, open_ledger
from chemprop_hpo.storage.ledger.tables import ledger_metadata
from chemprop_hpo.storage.ownership import Driver
from chemprop_hpo.storage.studies import open_or_create_study
from tests.conformance.made import RECORD
from tests.conformance.registries import FileRegistry, promote


@pytest.fixture
def db(ready_url: str) -> Iterator[Database]:
    with open_database(ready_url) as db:
        yield db


@pytest.fixture
def study(db: Database) -> optuna.Study:
    study, _ = open_or_create_study(db, "esol", RECORD)
    study.sampler = optuna.samplers.RandomSampler(seed=0)
    return study


@pytest.fixture
def driver(db: Database, study: optuna.Study) -> Driver:
    return Driver.register(db, study)


@pytest.fixture(scope="module")
def ledgers_postgres_url(postgres_server: str) -> Iterator[str]:
    """One database for all tests, since making one takes longer than a test."""
    name = f"ledger_{uuid4().hex}"
    admin = make_url(postgres_server).set(drivername="postgresql+psycopg")
    engine = create_engine(admin, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}"'))
        yield admin.set(database=name).render_as_string(hide_password=False)
        connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgres"])
def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    """An empty ledger in each kind of database in turn."""
    url = {"sqlite": "sqlite_url", "postgres": "ledgers_postgres_url"}[request.param]
    with open_ledger(request.getfixturevalue(url)) as ledger:
        yield ledger
        ledger_metadata.drop_all(ledger._engine)


@pytest.fixture
def registry(tmp_path: Path) -> FileRegistry:
    return FileRegistry(tmp_path / "aliases.json")


@pytest.fixture
def champion(ledger: Ledger, registry: FileRegistry) -> int:
    promote(ledger, registry, None, 3)
    return 3
