from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import optuna
import pytest

from chemprop_hpo.configs.errors import StorageError
from chemprop_hpo.storage.database import Database, open_database
from chemprop_hpo.storage.records import (
    RECORD_VERSION,
    StudyRecord,
    read_record,
    record_of,
    write_record,
)

RECORD = StudyRecord(
    config={"study": {"storage": "postgresql://me:Geheimnis8@host/db"}, "seed": 0},
    metric="val_loss",
    mode="min",
    space={},
    space_hash="abc",
    data={},
    seed=0,
    folder="studies/esol",
)


@pytest.fixture
def db(ready_sqlite_url: str) -> Iterator[Database]:
    with open_database(ready_sqlite_url) as db:
        yield db


@pytest.fixture
def study(db: Database) -> optuna.Study:
    return optuna.create_study(storage=db.storage, study_name="esol")


def test_a_password_in_the_configuration_is_never_stored(db: Database, study: optuna.Study) -> None:
    write_record(db, study, RECORD)
    assert "Geheimnis8" not in json.dumps(study.user_attrs)
    assert "Geheimnis8" not in repr(RECORD)


def test_a_reference_to_the_environment_is_kept(db: Database, study: optuna.Study) -> None:
    url = "postgresql://me:${oc.env:PGPASSWORD}@host/db"
    write_record(db, study, replace(RECORD, config={"study": {"storage": url}}))
    assert read_record(study).config == {"study": {"storage": url}}


def test_a_record_is_written_as_a_whole_or_not_at_all(db: Database, study: optuna.Study) -> None:
    write_record(db, study, RECORD)
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_record(db, study, replace(RECORD, folder="new", metric="val_r2"), last=object())
    assert read_record(study).folder == RECORD.folder
    assert "last" not in study.user_attrs


def test_a_record_of_a_newer_version_is_refused_though_nothing_else_differs(
    db: Database, study: optuna.Study
) -> None:
    write_record(db, study, replace(RECORD, schema_version=RECORD_VERSION + 1))
    text = r"study 'esol' was written by a newer chemprop-hpo \(record 2, known up to 1\); upgrade"
    for read in (read_record, record_of):
        with pytest.raises(StorageError, match=text):
            read(study)


def test_a_record_with_fields_that_are_not_known_is_newer_too(
    db: Database, study: optuna.Study
) -> None:
    db.storage.write_study_user_attrs(db.study_id(study), {"schema_version": 9, "goal": "x"})
    with pytest.raises(StorageError, match="newer chemprop-hpo"):
        read_record(study)
