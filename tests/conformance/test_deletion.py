"""A study is deleted with all that is kept of it."""

from __future__ import annotations

import os

import optuna
import pytest
from sqlalchemy import inspect, text

from chemprop_hpo.configs.errors import UnknownStudyError, UsageError
from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.ensembles import add_ensemble
from chemprop_hpo.storage.members import MemberKey, NewMember, add_members
from chemprop_hpo.storage.ownership import Driver, claim_slot, continue_trial
from chemprop_hpo.storage.studies import (
    delete_study,
    list_studies,
    open_or_create_study,
    open_study,
    study_exists,
)
from tests.conformance.made import RECORD, begin
from tests.conformance.processes import dies_at


def test_delete_leaves_nothing_and_spares_the_other_study(
    db: Database, study: optuna.Study
) -> None:
    other, _ = open_or_create_study(db, "other", RECORD)
    for owner in (study, other):
        _live(db, owner)
    before = _rows(db)
    delete_study(db, "esol")
    assert [summary.name for summary in list_studies(db)] == ["other"]
    left = _rows(db)
    assert left == {table: rows / 2 if rows > 1 else rows for table, rows in before.items()}
    delete_study(db, "other")
    assert {table for table, rows in _rows(db).items() if rows} == {
        "alembic_version",
        "chemprop_hpo_meta",
        "version_info",
    }


def test_a_study_at_work_is_not_deleted(db: Database, driver: Driver) -> None:
    with pytest.raises(UsageError, match=f"process {os.getpid()} on .* stop it first"):
        delete_study(db, "esol")
    assert open_study(db, "esol")


def test_a_driver_of_a_study_that_was_deleted_meanwhile_is_refused(
    db: Database, study: optuna.Study
) -> None:
    delete_study(db, "esol")
    with pytest.raises(UnknownStudyError, match="study 'esol' was just deleted"):
        Driver.register(db, study)


@pytest.mark.parametrize(("done", "at_work"), [(0, 0), (2, 0), (2, 1), (0, 1)])
def test_trials_of_a_study_that_was_deleted_meanwhile_are_not_taken_for_none(
    db: Database, study: optuna.Study, done: int, at_work: int
) -> None:
    for _ in range(done):
        study.add_trial(optuna.trial.create_trial(value=1.0))
    for _ in range(at_work):
        study.ask()
    assert len(study.get_trials()) == done + at_work
    delete_study(db, "esol")
    with pytest.raises(KeyError):
        study.get_trials()


def test_a_kill_at_any_statement_leaves_the_study_whole_or_gone(
    db: Database, study: optuna.Study, ready_url: str
) -> None:
    _live(db, study)
    before = _rows(db)
    db.close()
    statement = 0
    while dies_at(statement, ready_url, lambda db: delete_study(db, "esol")):
        if not study_exists(db, "esol"):
            break
        assert _rows(db) == before
        db.close()
        statement += 1
    assert statement > 8
    assert not any(rows for table, rows in _rows(db).items() if "stud" in table)


def _live(db: Database, study: optuna.Study) -> None:
    """Let a study have something of everything."""
    driver = Driver.register(db, study)
    claim_slot(db, driver.study_id, driver.id, 9)
    trial = begin(study, driver)
    trial.report(0.5, 1)
    continue_trial(db, study, study.trials[0], driver.id, "interrupted")
    study.add_trial(optuna.trial.create_trial(value=1.0))
    driver.leave()
    add_members(db, study, [NewMember(MemberKey(0, 0, 0, "cut"), 1, "members/a", 9)])
    add_ensemble(db, study, "/out", {})


def _rows(db: Database) -> dict[str, int]:
    """Return how many rows each table has."""
    with db.engine.connect() as connection:
        tables = inspect(connection).get_table_names()
        count = {t: connection.execute(text(f"SELECT count(*) FROM {t}")) for t in tables}
        return {table: rows.scalar_one() for table, rows in count.items()}
