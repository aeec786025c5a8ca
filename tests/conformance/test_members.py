"""Members of an ensemble: added once, claimed by one driver, written by nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier
from typing import Any

import optuna
import pytest
from sqlalchemy import event, text, update

from chemprop_hpo.configs.errors import StorageError, UnknownStudyError
from chemprop_hpo.storage import tables
from chemprop_hpo.storage.database import Database, open_database
from chemprop_hpo.storage.ensembles import add_ensemble, list_ensembles
from chemprop_hpo.storage.members import (
    MAX_DEATHS,
    MemberKey,
    MemberRecord,
    MemberTakenError,
    NewMember,
    add_members,
    claim_member,
    end_member,
    read_members,
    release_member,
    restart_member,
    write_epoch,
)
from chemprop_hpo.storage.ownership import Driver
from chemprop_hpo.storage.studies import open_study
from tests.conformance.made import silence
from tests.conformance.processes import FORK, in_processes


def member(trial: int = 7, fold: int = 0, *, seed: int = 2**32 - 1, epochs: int = 50) -> NewMember:
    key = MemberKey(trial, 0, fold, "c" * 64)
    return NewMember(key, seed, f"members/trial_{trial:05d}/split_0_fold_{fold}-cccc", epochs)


WANTED = [member(7, 0), member(7, 1), member(3, 0)]
KEYS = [each.key for each in WANTED]


@pytest.fixture(autouse=True)
def added(db: Database, study: optuna.Study) -> list[MemberRecord]:
    return add_members(db, study, WANTED)


@pytest.fixture
def other(db: Database, study: optuna.Study) -> Driver:
    return Driver.register(db, study)


def claim(db: Database, study: optuna.Study, driver: Driver, held: object = ()) -> MemberRecord:
    claimed = claim_member(db, study, driver.id, KEYS, held)  # type: ignore[arg-type]
    assert claimed is not None
    return claimed


def now(db: Database, study: optuna.Study, fold: int = 0) -> MemberRecord:
    return read_members(db, study, [KEYS[fold]])[0]


def write(db: Database, claimed: MemberRecord, driver: Driver, epoch: int) -> None:
    curve = [None, *(1 / n for n in range(2, epoch + 1))]
    write_epoch(db, claimed.id, driver.id, epoch=epoch, best_epoch=1, value=0.5, curve=curve)


# ------------------------------------------------------------------ what is added


def test_what_is_added_waits_in_the_order_that_was_asked_for(
    added: list[MemberRecord], db: Database, study: optuna.Study
) -> None:
    assert [record.key for record in added] == KEYS
    assert {record.state for record in added} == {"waiting"}
    assert added[0].seed == 2**32 - 1
    assert [record.key for record in read_members(db, study)] == KEYS
    assert read_members(db, study, [KEYS[2], member(99).key, KEYS[0]]) == [added[2], added[0]]


def test_what_is_known_is_not_added_again(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    claimed = claim(db, study, driver)
    write(db, claimed, driver, 3)
    again = add_members(db, study, [*WANTED, member(9)])
    assert (again[0].state, again[0].epoch) == ("running", 3)
    assert [record.key.trial for record in again] == [7, 7, 3, 9]


@pytest.mark.parametrize("changed", [member(epochs=60), member(seed=1)])
def test_a_member_trained_otherwise_begins_anew(
    db: Database, study: optuna.Study, driver: Driver, changed: NewMember
) -> None:
    claimed = claim(db, study, driver)
    write(db, claimed, driver, 3)
    end_member(
        db, claimed.id, driver.id, "complete", stop_reason="max_t", metrics={"val_loss": 1.0}
    )
    (again,) = add_members(db, study, [changed])
    assert (again.state, again.epoch, again.curve, again.metrics) == ("waiting", 0, (), {})
    assert (again.seed, again.max_epochs) == (changed.seed, changed.max_epochs)


def test_processes_that_add_at_once_add_each_member_once(
    db: Database, study: optuna.Study, ready_url: str
) -> None:
    db.close()
    found = in_processes(3, _add, ready_url)
    assert found == [12] * 3
    assert len(read_members(db, study)) == 3 + 12


def _add(url: str) -> int:
    with open_database(url) as db:
        new = [member(trial, fold) for trial in range(20, 24) for fold in range(3)]
        return len(add_members(db, open_study(db, "esol"), new))


# ------------------------------------------------------------------ who trains it


def test_members_are_claimed_in_their_order_and_once(
    db: Database, study: optuna.Study, driver: Driver, other: Driver
) -> None:
    first = claim(db, study, driver)
    second = claim(db, study, other)
    third = claim(db, study, driver, {first.id})
    assert [each.key for each in (first, second, third)] == KEYS
    assert claim_member(db, study, driver.id, KEYS, {first.id, third.id}) is None
    assert (second.state, second.driver_id) == ("running", other.id)
    assert second.started is not None


def test_four_processes_claim_forty_members_once_each(
    db: Database, study: optuna.Study, ready_url: str
) -> None:
    add_members(db, study, [member(trial, fold) for trial in range(50, 58) for fold in range(5)])
    db.close()
    all_done = FORK.Barrier(4)  # what a process that has ended held would be free
    found = in_processes(4, _claim_until_none, ready_url, all_done)
    assert sorted(claimed for each in found for claimed in each) == [
        (trial, fold) for trial in range(50, 58) for fold in range(5)
    ]


def _claim_until_none(url: str, all_done: Barrier) -> list[tuple[int, int]]:
    with open_database(url) as db:
        study = open_study(db, "esol")
        keys = [r.key for r in read_members(db, study) if r.key.trial >= 50]
        driver, held, claimed = Driver.register(db, study), set(), []
        while (record := claim_member(db, study, driver.id, keys, held)) is not None:
            held.add(record.id)
            claimed.append((record.key.trial, record.key.fold))
        all_done.wait(60)
        return claimed


def test_a_claim_whose_answer_was_lost_is_found_again(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    lost = claim(db, study, driver)
    assert claim(db, study, driver).id == lost.id
    assert claim(db, study, driver, {lost.id}).id != lost.id


def test_a_member_of_a_dead_driver_is_gone_on_with_and_the_dead_writes_no_more(
    db: Database, study: optuna.Study, driver: Driver, other: Driver
) -> None:
    claimed = claim(db, study, driver)
    write(db, claimed, driver, 4)
    silence(db, driver)
    taken = claim(db, study, other)
    assert (taken.id, taken.epoch, taken.retries) == (claimed.id, 4, 1)
    assert taken.curve == (None, 1 / 2, 1 / 3, 1 / 4)
    with pytest.raises(MemberTakenError):
        write(db, claimed, driver, 5)
    with pytest.raises(MemberTakenError):
        end_member(db, claimed.id, driver.id, "complete", stop_reason="max_t", metrics={})
    assert not release_member(db, claimed.id, driver.id, "interrupted")
    assert now(db, study) == taken


def test_a_member_that_kills_its_drivers_is_given_up(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    for _ in range(MAX_DEATHS + 1):
        mortal = Driver.register(db, study)
        assert claim(db, study, mortal).key == KEYS[0]
        mortal.leave()
    assert claim(db, study, driver).key == KEYS[1]
    given_up = now(db, study)
    assert (given_up.state, given_up.stop_reason) == ("failed", "error")
    assert "died 4 times before another epoch" in (given_up.error or "")


def test_a_new_epoch_forgives_the_deaths_before_it(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    for epoch in range(1, 2 * MAX_DEATHS):
        mortal = Driver.register(db, study)
        write(db, claim(db, study, mortal), mortal, epoch)
        mortal.leave()
    assert claim(db, study, driver).retries == 1


def test_a_released_member_waits_and_nothing_is_held_against_it(
    db: Database, study: optuna.Study, driver: Driver, other: Driver
) -> None:
    claimed = claim(db, study, driver)
    write(db, claimed, driver, 2)
    assert release_member(db, claimed.id, driver.id, "interrupted")
    waiting = now(db, study)
    assert (waiting.state, waiting.driver_id, waiting.epoch) == ("waiting", None, 2)
    assert claim(db, study, other).retries == 0


# ------------------------------------------------------------------ how it ends


def test_an_end_may_be_written_twice(db: Database, study: optuna.Study, driver: Driver) -> None:
    claimed = claim(db, study, driver)
    for _ in range(2):
        end_member(db, claimed.id, driver.id, "failed", stop_reason="nan", metrics={}, error="e")
    ended = now(db, study)
    assert (ended.state, ended.stop_reason, ended.error) == ("failed", "nan", "e")
    assert ended.ended is not None
    assert claim(db, study, driver).key == KEYS[1]


@pytest.mark.parametrize("anew", [True, False])
def test_an_ended_member_can_be_trained_once_more(
    db: Database, study: optuna.Study, driver: Driver, anew: bool
) -> None:
    claimed = claim(db, study, driver)
    write(db, claimed, driver, 2)
    end_member(db, claimed.id, driver.id, "failed", stop_reason="oom", metrics={}, error="e")
    ended = now(db, study)
    assert restart_member(db, ended, anew=anew)
    again = now(db, study)
    assert (again.state, again.error, again.epoch) == ("waiting", None, 0 if anew else 2)
    assert not restart_member(db, ended, anew=anew)


# ------------------------------------------------------------------ ensembles, older databases


def test_ensembles_are_remembered_with_what_they_say(db: Database, study: optuna.Study) -> None:
    records = [{"trials": [7, 3], "macro_rae": 0.5}, {"trials": [7]}]
    numbers = [add_ensemble(db, study, f"/out/{n}", record) for n, record in enumerate(records)]
    found = list_ensembles(db, study)
    assert [each.id for each in found] == numbers
    assert [each.record for each in found] == records
    assert [each.folder for each in found] == ["/out/0", "/out/1"]
    assert found[0].created <= found[1].created


@pytest.fixture
def old_url(db: Database, ready_url: str) -> str:
    """A database as version 1 of the tables left it."""
    for table in (tables.members, tables.ensembles):
        table.drop(db.engine)
    with db.engine.begin() as connection:
        connection.execute(update(tables.meta).values(version=1))
    return ready_url


def test_a_command_that_only_reads_works_on_an_older_database(
    old_url: str, study: optuna.Study
) -> None:
    with open_database(old_url, create=False) as db:
        assert read_members(db, study) == []
        assert list_ensembles(db, study) == []
        assert _version(db) == 1


def test_a_command_that_writes_makes_the_tables_which_are_missing(
    old_url: str, study: optuna.Study
) -> None:
    with open_database(old_url) as db:
        assert _version(db) == 2
        assert len(add_members(db, study, WANTED)) == 3


def test_the_first_member_makes_the_tables_too(old_url: str, study: optuna.Study) -> None:
    with open_database(old_url, create=False) as db:
        add_ensemble(db, study, "/out", {})
        assert _version(db) == 2


def test_processes_upgrade_at_once(old_url: str, db: Database) -> None:
    db.close()
    assert in_processes(4, _open, old_url) == [2] * 4


def _open(url: str) -> int:
    with open_database(url) as db:
        return _version(db)


def _version(db: Database) -> int:
    with db.engine.connect() as connection:
        return int(connection.execute(tables.meta.select()).scalar_one())


def test_a_study_in_an_older_database_can_be_deleted(old_url: str) -> None:
    from chemprop_hpo.storage.studies import delete_study, study_exists

    with open_database(old_url, create=False) as db:
        delete_study(db, "esol")
        assert not study_exists(db, "esol")


def test_a_study_that_was_just_deleted_gets_no_ensemble(db: Database, study: optuna.Study) -> None:
    from chemprop_hpo.storage.studies import delete_study

    delete_study(db, "esol")
    with pytest.raises(UnknownStudyError, match="study 'esol' was just deleted"):
        add_ensemble(db, study, "/out", {})


def test_a_user_who_may_not_make_tables_is_told_who_may(old_url: str) -> None:
    with open_database(old_url, create=False) as db:
        with no_rights(db):
            said = "lacks tables of this version, and they cannot be made: .*; let the owner"
            with pytest.raises(StorageError, match=said):
                db.upgrade()
        assert _version(db) == 1


@contextmanager
def no_rights(db: Database) -> Iterator[None]:
    """Take the right to make tables, as an administrator would."""
    if db.engine.name == "sqlite":
        take = "PRAGMA query_only = ON"
    else:
        take = "SET ROLE chemprop_hpo_reader"
        with db.engine.begin() as connection:
            connection.execute(text("DROP ROLE IF EXISTS chemprop_hpo_reader"))
            connection.execute(text("CREATE ROLE chemprop_hpo_reader"))
            connection.execute(text("GRANT pg_read_all_data TO chemprop_hpo_reader"))

    @event.listens_for(db.engine, "checkout")
    def without(connection: Any, *_: Any) -> None:
        connection.cursor().execute(take)
        connection.commit()

    yield
    event.remove(db.engine, "checkout", without)
    db.engine.dispose()
