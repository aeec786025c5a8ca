"""A study goes on with what may change, and remembers it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import optuna
import pytest

from chemprop_hpo.configs.errors import StudyMismatchError
from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.studies import (
    open_or_create_study,
    read_record,
    refuse_mismatch,
)
from tests.conformance.made import RECORD, SPACE


def test_a_wider_range_and_another_folder_are_taken_over(db: Database, study: optuna.Study) -> None:
    space = {**SPACE, "max_lr": {**SPACE["max_lr"], "high": 1.0}, "depth": SPACE["max_lr"]}
    del space["trunk_n_layers"]
    wider = replace(RECORD, space=space, space_hash="def", folder="elsewhere")
    study, created = open_or_create_study(db, "esol", wider)
    assert not created
    assert read_record(study) == wider


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"metric": "val_mae"}, "metric: val_rmse in the study, val_mae now"),
        ({"mode": "max"}, "mode: min in the study, max now"),
        (
            {"data": {"new/train.csv": {"sha256": "2" * 64, "rows": 900}}},
            "data train.csv: 902 rows, sha256 111111111111 in the study, 900 rows",
        ),
        (
            {"space": {"ffn_type": {"type": "choice", "choices": ["branched"]}}},
            r'search_space.ffn_type: \["regression", "branched"\] in the study, \["branched"\]',
        ),
        (
            {"space": {"max_lr": {**SPACE["max_lr"], "type": "uniform"}}},
            "search_space.max_lr: loguniform in the study, uniform now",
        ),
    ],
)
def test_another_study_under_the_same_name_is_refused_and_the_difference_shown(
    db: Database, study: optuna.Study, changed: dict[str, Any], line: str
) -> None:
    with pytest.raises(StudyMismatchError, match=line) as caught:
        open_or_create_study(db, "esol", replace(RECORD, **changed))
    assert "--study NAME" in str(caught.value)
    assert read_record(study) == RECORD


def test_changed_data_are_refused_with_the_option_that_accepts_them(
    db: Database, study: optuna.Study
) -> None:
    other = replace(RECORD, data={"train.csv": {"sha256": "2" * 64, "rows": 900}})
    for refuse in (refuse_mismatch, open_or_create_study):
        with pytest.raises(StudyMismatchError, match="--accept-changed-data"):
            refuse(db, "esol", other)
    refuse_mismatch(db, "esol", other, accept_changed_data=True)
    open_or_create_study(db, "esol", other, accept_changed_data=True)
    assert read_record(study).data == other.data
    open_or_create_study(db, "esol", other)  # from now on they are the study's


def test_accepted_data_do_not_make_another_metric_acceptable(
    db: Database, study: optuna.Study
) -> None:
    other = replace(RECORD, metric="val_mae", data={})
    with pytest.raises(StudyMismatchError, match="metric: val_rmse") as caught:
        open_or_create_study(db, "esol", other, accept_changed_data=True)
    assert "accept-changed-data" not in str(caught.value)
    assert "changes" not in study.user_attrs


def test_a_study_remembers_what_was_changed_and_when(db: Database, study: optuna.Study) -> None:
    open_or_create_study(db, "esol", RECORD)
    assert study.user_attrs.get("changes", []) == []
    more = replace(RECORD, config={**RECORD.config, "num_samples": 20})
    open_or_create_study(db, "esol", more)
    open_or_create_study(db, "esol", more)
    moved = replace(more, folder="elsewhere", data={"train.csv": {"sha256": "2" * 64, "rows": 9}})
    open_or_create_study(db, "esol", moved, accept_changed_data=True)
    changes = study.user_attrs["changes"]
    assert [change["what"] for change in changes] == [
        ["num_samples: 12 in the study, 20 now"],
        [
            "data train.csv: 902 rows, sha256 111111111111 in the study, "
            "9 rows, sha256 222222222222 now",
            "folder: studies/esol in the study, elsewhere now",
        ],
    ]
    assert all(abs(change["at"] - db.now()) < 30 for change in changes)


def test_no_password_is_remembered(db: Database, study: optuna.Study) -> None:
    for number, password in enumerate(("", ":Geheimnis8", ":Geheimnis9")):
        uri = f"postgresql://me{password}@host{number}/mlflow"
        config = {**RECORD.config, "mlflow": {"tracking_uri": uri}}
        open_or_create_study(db, "esol", replace(RECORD, config=config))
    assert "host2/mlflow" in json.dumps(study.user_attrs["changes"])
    assert "Geheimnis" not in json.dumps(study.user_attrs)
