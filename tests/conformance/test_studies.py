"""Studies: their records, names, refusals and deletion."""

from __future__ import annotations

from dataclasses import replace

import optuna
import pytest
from optuna.trial import TrialState

from chemprop_hpo.configs.errors import (
    StorageError,
    StudyMismatchError,
    UnknownStudyError,
)
from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.ownership import Driver, continue_trial
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
from tests.conformance.made import RECORD


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


def test_a_trial_that_another_goes_on_with_is_not_listed_as_failed(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    study.ask()
    continue_trial(db, study, study.trials[0], driver.id, "interrupted")
    (summary,) = list_studies(db)
    assert summary.counts == {"WAITING": 1}
    db.storage.set_trial_state_values(study.ask()._trial_id, TrialState.FAIL)
    (summary,) = list_studies(db)
    assert summary.counts == {"FAIL": 1}


def test_the_latest_study_is_the_one_in_which_something_happened_last(
    db: Database, study: optuna.Study
) -> None:
    second, _ = open_or_create_study(db, "second", RECORD)
    assert latest_study(db) == "second"
    second.ask()
    study.ask()
    assert latest_study(db) == "esol"
