"""What every database must do: these run on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import optuna
import pytest

from chemprop_hpo.storage.database import Database, open_database
from chemprop_hpo.storage.ownership import Driver
from chemprop_hpo.storage.studies import open_or_create_study
from tests.conformance.made import RECORD


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
