"""Tables and studies, created by many at once."""

from __future__ import annotations

import optuna
import pytest
from sqlalchemy import inspect, select, update

from chemprop_hpo.configs.errors import StorageError, UnknownStudyError
from chemprop_hpo.storage import studies as creating
from chemprop_hpo.storage import tables
from chemprop_hpo.storage.database import Database, open_database
from chemprop_hpo.storage.optuna_storage import OptunaStorage
from chemprop_hpo.storage.studies import list_studies, open_or_create_study, open_study, read_record
from tests.conformance.made import RECORD
from tests.conformance.processes import die, in_processes, killed


# The template: what it imported once, the children need not.
@pytest.mark.usefixtures("sqlite_template")
def test_eight_processes_create_the_tables_at_the_same_moment(database_url: str) -> None:
    assert in_processes(8, _create_tables, database_url) == [1] * 8


def test_one_of_four_processes_creates_the_study(ready_url: str) -> None:
    found = in_processes(4, _create_study, ready_url)
    assert sorted(created for created, _ in found) == [False, False, False, True]
    assert {seed for _, seed in found} == {7}


def test_reading_an_empty_database_says_that_it_holds_no_study(database_url: str) -> None:
    with pytest.raises(StorageError, match="sweep FILE"):
        open_database(database_url, create=False)


def test_reading_opens_what_was_created(db: Database, ready_url: str) -> None:
    with open_database(ready_url, create=False) as again:
        assert inspect(again.engine).has_table("chemprop_hpo_drivers")


def test_tables_of_a_newer_version_are_refused(db: Database, ready_url: str) -> None:
    with db.engine.begin() as connection:
        connection.execute(update(tables.meta).values(version=99))
    with pytest.raises(StorageError, match="upgrade with: pip install"):
        open_database(ready_url)


@pytest.mark.parametrize(
    ("version", "advice"), [("v2.6.0.a", "optuna storage upgrade"), ("v9", "newer Optuna")]
)
def test_tables_of_another_optuna_are_refused(
    db: Database, ready_url: str, version: str, advice: str
) -> None:
    _set_optuna_version(db, version)
    with pytest.raises(StorageError, match=advice):
        open_database(ready_url)


def test_a_database_that_optuna_made_takes_our_studies_too(database_url: str) -> None:
    plain = database_url.replace("postgresql:", "postgresql+psycopg:")
    theirs = optuna.storages.RDBStorage(plain)
    optuna.create_study(storage=theirs, study_name="theirs")
    theirs.remove_session()
    theirs.engine.dispose()
    with open_database(database_url) as db:
        open_or_create_study(db, "ours", RECORD)
        assert {s.name: s.foreign for s in list_studies(db)} == {"theirs": True, "ours": False}


@pytest.mark.parametrize(
    ("of", "step"),
    [(creating, "write_record"), (OptunaStorage, "forget_study"), (creating, "_clear_pending")],
)
def test_a_study_whose_creation_was_killed_is_unseen_and_made_anew(
    ready_url: str, of: object, step: str
) -> None:
    killed(_create_study_and_die, ready_url, of, step)
    with open_database(ready_url) as db:
        if step != "_clear_pending":  # then the study is complete, and may be seen
            assert list_studies(db) == []
            with pytest.raises(UnknownStudyError):
                open_study(db, "esol")
        study, _ = open_or_create_study(db, "esol", RECORD)
        assert read_record(study) == RECORD
        assert [summary.name for summary in list_studies(db)] == ["esol"]


def _set_optuna_version(db: Database, version: str) -> None:
    with db.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{version}'")


def _create_tables(url: str) -> int:
    with open_database(url) as db, db.engine.connect() as connection:
        return len(connection.execute(select(tables.meta)).all())


def _create_study(url: str) -> tuple[bool, int]:
    with open_database(url) as db:
        study, created = open_or_create_study(db, "esol", RECORD)
        return created, read_record(study).seed


def _create_study_and_die(url: str, of: object, step: str) -> None:
    setattr(of, step, die)
    _create_study(url)
