from __future__ import annotations

import json
from dataclasses import replace

import optuna

from chemprop_hpo.storage.records import StudyRecord, read_record, write_record

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


def test_a_password_in_the_configuration_is_never_stored() -> None:
    study = optuna.create_study()
    write_record(study, RECORD)
    assert "Geheimnis8" not in json.dumps(study.user_attrs)
    assert "Geheimnis8" not in repr(RECORD)


def test_a_reference_to_the_environment_is_kept() -> None:
    study, url = optuna.create_study(), "postgresql://me:${oc.env:PGPASSWORD}@host/db"
    write_record(study, replace(RECORD, config={"study": {"storage": url}}))
    assert read_record(study).config == {"study": {"storage": url}}
