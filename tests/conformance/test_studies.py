"""Studies: their records, names, refusals and deletion."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Any

import optuna
import pytest

from chemprop_hpo.configs.errors import (
    StorageError,
    StudyMismatchError,
    UnknownStudyError,
    UsageError,
)
from chemprop_hpo.storage import studies as creating
from chemprop_hpo.storage.database import Database, open_database
from chemprop_hpo.storage.ownership import Driver, claim_slot, claimed_slots
from chemprop_hpo.storage.studies import (
    delete_study,
    latest_study,
    list_studies,
    open_or_create_study,
    open_study,
    read_record,
    refuse_mismatch,
    study_exists,
)
from tests.conformance.made import RECORD, SPACE
from tests.conformance.processes import die, killed


def test_record_comes_back_as_it_was(db: Database, study: optuna.Study) -> None:
    assert read_record(open_study(db, "esol")) == RECORD


def test_names_and_values_may_hold_any_letters(db: Database) -> None:
    name, folder = "Löslichkeit 水 🧪", "studies/水"
    open_or_create_study(db, name, replace(RECORD, folder=folder))
    assert read_record(open_study(db, name)).folder == folder
    assert latest_study(db) == name


def test_direction_follows_the_mode(db: Database) -> None:
    study, _ = open_or_create_study(db, "r2", replace(RECORD, metric="val_r2", mode="max"))
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE


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


def test_a_study_of_a_newer_version_is_listed_and_left_alone(
    db: Database, study: optuna.Study
) -> None:
    study.add_trial(optuna.trial.create_trial(value=1.0))
    open_or_create_study(db, "older", RECORD)
    study.set_user_attr("schema_version", 2)
    study.set_user_attr("created", "in another form")
    study.ask()
    before = study.user_attrs
    for open_it in (open_study, study_exists, delete_study):
        with pytest.raises(StorageError, match="study 'esol' was written by a newer chemprop-hpo"):
            open_it(db, "esol")
    for open_it in (open_or_create_study, refuse_mismatch):
        with pytest.raises(StorageError, match="upgrade with: pip install -U chemprop-hpo"):
            open_it(db, "esol", RECORD)
    assert study.user_attrs == before
    summaries = {summary.name: summary for summary in list_studies(db)}
    assert summaries["esol"].counts == {"COMPLETE": 1, "RUNNING": 1}
    assert not summaries["esol"].foreign
    assert summaries["older"].metric == "val_rmse"
    assert latest_study(db) == "esol"


def test_an_unknown_study_is_named_with_a_suggestion(db: Database, study: optuna.Study) -> None:
    with pytest.raises(UnknownStudyError, match="no study 'esl' .* did you mean 'esol'"):
        open_study(db, "esl")
    assert not study_exists(db, "esl")
    assert study_exists(db, "esol")


def test_a_study_of_another_program_is_listed_and_left_alone(db: Database) -> None:
    theirs = optuna.create_study(storage=db.storage, study_name="theirs")
    theirs.add_trial(optuna.trial.create_trial(value=1.0))
    (summary,) = list_studies(db)
    assert summary.foreign
    assert summary.counts == {"COMPLETE": 1}
    with pytest.raises(UnknownStudyError, match="another program"):
        open_study(db, "theirs")
    with pytest.raises(StudyMismatchError, match="another program"):
        open_or_create_study(db, "theirs", RECORD)
    with pytest.raises(UnknownStudyError, match="another program"):
        delete_study(db, "theirs")
    with pytest.raises(UnknownStudyError, match="no study in"):
        latest_study(db)


@pytest.mark.parametrize("step", ["write_record", "_clear_rows", "_clear_pending"])
def test_a_study_whose_creation_was_killed_is_unseen_and_made_anew(
    ready_url: str, step: str
) -> None:
    killed(_create_study_and_die, ready_url, step)
    with open_database(ready_url) as db:
        if step != "_clear_pending":  # then the study is complete, and may be seen
            assert list_studies(db) == []
            with pytest.raises(UnknownStudyError):
                open_study(db, "esol")
        study, _ = open_or_create_study(db, "esol", RECORD)
        assert read_record(study) == RECORD
        assert [summary.name for summary in list_studies(db)] == ["esol"]


def test_list_tells_counts_and_best_value_without_loading_trials(
    db: Database, study: optuna.Study
) -> None:
    for value in (0.9, 0.7):
        study.add_trial(optuna.trial.create_trial(value=value))
    study.ask()
    (summary,) = list_studies(db)
    assert summary.counts == {"COMPLETE": 2, "RUNNING": 1}
    assert (summary.best, summary.num_samples) == (0.7, 12)
    assert summary.created is not None
    assert summary.last_active is not None
    assert abs(summary.last_active.timestamp() - db.now()) < 30


def test_the_latest_study_is_the_one_in_which_something_happened_last(
    db: Database, study: optuna.Study
) -> None:
    second, _ = open_or_create_study(db, "second", RECORD)
    assert latest_study(db) == "second"
    second.ask()
    study.ask()
    assert latest_study(db) == "esol"


def test_delete_leaves_nothing_and_spares_the_other_study(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    other, _ = open_or_create_study(db, "other", RECORD)
    for owner in (study, other):
        study_id = db.study_id(owner)
        claim_slot(db, study_id, driver.id, 9, ())
        owner.ask()
    driver.leave()
    delete_study(db, "esol")
    assert [summary.name for summary in list_studies(db)] == ["other"]
    assert claimed_slots(db, driver.study_id) == {}
    assert claimed_slots(db, db.study_id(other)) == {0: driver.id}
    assert len(other.trials) == 1


def test_a_study_at_work_is_not_deleted(db: Database, driver: Driver) -> None:
    with pytest.raises(UsageError, match=f"process {os.getpid()} on .* stop it first"):
        delete_study(db, "esol")
    assert open_study(db, "esol")


def _create_study(url: str) -> tuple[bool, int]:
    with open_database(url) as db:
        study, created = open_or_create_study(db, "esol", RECORD)
        return created, read_record(study).seed


def _create_study_and_die(url: str, step: str) -> None:
    setattr(creating, step, die)
    _create_study(url)
