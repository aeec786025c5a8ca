"""What every database must do: this runs on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import inspect, select, update

from chemprop_hpo.configs.errors import (
    StorageError,
    StudyMismatchError,
    UnknownStudyError,
    UsageError,
)
from chemprop_hpo.storage import continuations as continuing
from chemprop_hpo.storage import studies as creating
from chemprop_hpo.storage import tables
from chemprop_hpo.storage.database import Database, open_database
from chemprop_hpo.storage.ownership import (
    DEAD_AFTER_S,
    Driver,
    claim_slot,
    claimed_slots,
    continue_trial,
    live_drivers,
    mend_continuations,
    orphans,
    release_slot,
    release_stale_slots,
    taken_trials,
)
from chemprop_hpo.storage.studies import (
    StudyRecord,
    delete_study,
    latest_study,
    list_studies,
    open_or_create_study,
    open_study,
    read_record,
    study_exists,
)
from chemprop_hpo.storage.trials import best_trials, counts, epochs_trained, trial_records

FORK = multiprocessing.get_context("fork")

SPACE: dict[str, dict[str, Any]] = {
    "ffn_type": {"type": "choice", "choices": ["regression", "branched"], "condition": None},
    "trunk_n_layers": {"type": "randint", "low": 1, "high": 4, "condition": "..."},
    "max_lr": {"type": "loguniform", "low": 1e-5, "high": 1e-2, "condition": None},
}

RECORD = StudyRecord(
    config={"seed": 7, "num_samples": 12, "task": "regression", "data": {"target_cols": ["y"]}},
    metric="val_rmse",
    mode="min",
    space=SPACE,
    space_hash="abc",
    data={"train.csv": {"sha256": "1" * 64, "rows": 902}},
    seed=7,
    folder="studies/esol",
    git_commit="b31f688",
    versions={"optuna": "5.0.0"},
)


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    if trial.suggest_categorical("ffn_type", ["regression", "branched"]) == "branched":
        trial.suggest_int("trunk_n_layers", 1, 4)
    trial.suggest_float("max_lr", 1e-5, 1e-2, log=True)
    return trial.params


def in_processes(number: int, work: Callable[..., Any], *args: Any) -> list[Any]:
    """Run ``work`` in that many processes at the same moment, and return what each said."""
    barrier, answers = FORK.Barrier(number), FORK.SimpleQueue()
    children = [
        FORK.Process(target=_answer, args=(work, barrier, answers, args)) for _ in range(number)
    ]
    for child in children:
        child.start()
    found = [answers.get() for _ in children]
    for child in children:
        child.join()
    return found


def _answer(work: Callable[..., Any], barrier: Any, answers: Any, args: tuple[Any, ...]) -> None:
    barrier.wait(30)
    try:
        answers.put(work(*args))
    except BaseException as error:
        answers.put(repr(error))


def killed(work: Callable[..., Any], *args: Any) -> None:
    """Run ``work`` in a process that must end by SIGKILL."""
    child = FORK.Process(target=work, args=args)
    child.start()
    child.join(30)
    assert child.exitcode == -signal.SIGKILL


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class TestDatabase:
    @pytest.fixture
    def db(self, ready_url: str) -> Iterator[Database]:
        with open_database(ready_url) as db:
            yield db

    @pytest.fixture
    def study(self, db: Database) -> optuna.Study:
        study, _ = open_or_create_study(db, "esol", RECORD)
        study.sampler = optuna.samplers.RandomSampler(seed=0)
        return study

    @pytest.fixture
    def driver(self, db: Database, study: optuna.Study) -> Driver:
        return Driver.register(db, study)

    # ------------------------------------------------------------------------- creation

    # The template: what it imported once, the children need not.
    @pytest.mark.usefixtures("sqlite_template")
    def test_eight_processes_create_the_tables_at_the_same_moment(self, database_url: str) -> None:
        assert in_processes(8, _create_tables, database_url) == [1] * 8

    def test_one_of_four_processes_creates_the_study(self, ready_url: str) -> None:
        found = in_processes(4, _create_study, ready_url)
        assert sorted(created for created, _ in found) == [False, False, False, True]
        assert {seed for _, seed in found} == {7}

    def test_reading_an_empty_database_says_that_it_holds_no_study(self, database_url: str) -> None:
        with pytest.raises(StorageError, match="sweep FILE"):
            open_database(database_url, create=False)

    def test_reading_opens_what_was_created(self, db: Database, ready_url: str) -> None:
        with open_database(ready_url, create=False) as again:
            assert inspect(again.engine).has_table("chemprop_hpo_drivers")

    def test_tables_of_a_newer_version_are_refused(self, db: Database, ready_url: str) -> None:
        with db.engine.begin() as connection:
            connection.execute(update(tables.meta).values(version=99))
        with pytest.raises(StorageError, match="upgrade with: pip install"):
            open_database(ready_url)

    @pytest.mark.parametrize(
        ("version", "advice"), [("v2.6.0.a", "optuna storage upgrade"), ("v9", "newer Optuna")]
    )
    def test_tables_of_another_optuna_are_refused(
        self, db: Database, ready_url: str, version: str, advice: str
    ) -> None:
        _set_optuna_version(db, version)
        with pytest.raises(StorageError, match=advice):
            open_database(ready_url)

    def test_a_database_that_optuna_made_takes_our_studies_too(self, database_url: str) -> None:
        plain = database_url.replace("postgresql:", "postgresql+psycopg:")
        optuna.create_study(storage=plain, study_name="theirs")
        with open_database(database_url) as db:
            open_or_create_study(db, "ours", RECORD)
            assert {s.name: s.foreign for s in list_studies(db)} == {"theirs": True, "ours": False}

    # ------------------------------------------------------------------------- studies

    def test_record_comes_back_as_it_was(self, db: Database, study: optuna.Study) -> None:
        assert read_record(open_study(db, "esol")) == RECORD

    def test_names_and_values_may_hold_any_letters(self, db: Database) -> None:
        name, folder = "Löslichkeit 水 🧪", "studies/水"
        open_or_create_study(db, name, replace(RECORD, folder=folder))
        assert read_record(open_study(db, name)).folder == folder
        assert latest_study(db) == name

    def test_direction_follows_the_mode(self, db: Database) -> None:
        study, _ = open_or_create_study(db, "r2", replace(RECORD, metric="val_r2", mode="max"))
        assert study.direction == optuna.study.StudyDirection.MAXIMIZE

    def test_a_wider_range_and_another_folder_are_taken_over(
        self, db: Database, study: optuna.Study
    ) -> None:
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
        self, db: Database, study: optuna.Study, changed: dict[str, Any], line: str
    ) -> None:
        with pytest.raises(StudyMismatchError, match=line) as caught:
            open_or_create_study(db, "esol", replace(RECORD, **changed))
        assert "--study NAME" in str(caught.value)
        assert read_record(study) == RECORD

    def test_an_unknown_study_is_named_with_a_suggestion(
        self, db: Database, study: optuna.Study
    ) -> None:
        with pytest.raises(UnknownStudyError, match="no study 'esl' .* did you mean 'esol'"):
            open_study(db, "esl")
        assert not study_exists(db, "esl")
        assert study_exists(db, "esol")

    def test_a_study_of_another_program_is_listed_and_left_alone(self, db: Database) -> None:
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
        self, ready_url: str, step: str
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
        self, db: Database, study: optuna.Study
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
        self, db: Database, study: optuna.Study
    ) -> None:
        second, _ = open_or_create_study(db, "second", RECORD)
        assert latest_study(db) == "second"
        second.ask()
        study.ask()
        assert latest_study(db) == "esol"

    def test_delete_leaves_nothing_and_spares_the_other_study(
        self, db: Database, study: optuna.Study, driver: Driver
    ) -> None:
        other, _ = open_or_create_study(db, "other", RECORD)
        for owner in (study, other):
            study_id = db.study_id(owner)
            claim_slot(db, study_id, driver.id, 9)
            owner.ask()
        driver.leave()
        delete_study(db, "esol")
        assert [summary.name for summary in list_studies(db)] == ["other"]
        assert claimed_slots(db, driver.study_id) == {}
        assert claimed_slots(db, db.study_id(other)) == {0: driver.id}
        assert len(other.trials) == 1

    def test_a_study_at_work_is_not_deleted(self, db: Database, driver: Driver) -> None:
        with pytest.raises(UsageError, match=f"process {os.getpid()} on .* stop it first"):
            delete_study(db, "esol")
        assert open_study(db, "esol")

    # ------------------------------------------------------------------------- trials

    def test_trials_come_back_with_all_that_was_noted(
        self, db: Database, study: optuna.Study
    ) -> None:
        trial = study.ask()
        suggest(trial)
        trial.set_user_attr("metrics", {"val_rmse/日": 0.5})
        for key, value in {"seed": 11, "epochs": 4, "best_epoch": 3, "head": "branched"}.items():
            trial.set_user_attr(key, value)
        study.tell(trial, 0.5)
        (record,) = trial_records(open_study(db, "esol"))
        assert (record.number, record.state, record.value) == (0, "COMPLETE", 0.5)
        assert record.params == trial.params
        assert (record.seed, record.epochs, record.best_epoch, record.retry) == (11, 4, 3, 0)
        assert record.metrics == {"val_rmse/日": 0.5}
        assert record.started is not None
        assert record.ended is not None
        assert abs(record.ended.timestamp() - db.now()) < 30

    def test_one_waiting_trial_goes_to_one_process_only(
        self, db: Database, study: optuna.Study, ready_url: str
    ) -> None:
        for _ in range(12):
            study.enqueue_trial({"max_lr": 1e-3})
        db.close()
        found = in_processes(4, _ask_three, ready_url)
        assert sorted(number for numbers in found for number in numbers) == list(range(12))

    # ------------------------------------------------------------------------- drivers, slots

    def test_a_driver_is_alive_until_it_leaves(
        self, db: Database, study: optuna.Study, driver: Driver
    ) -> None:
        assert [row.id for row in live_drivers(db, study)] == [driver.id]
        driver.leave()
        assert live_drivers(db, study) == []

    def test_a_driver_that_does_not_beat_is_dead_until_it_beats_again(
        self, db: Database, study: optuna.Study, driver: Driver
    ) -> None:
        _age(db, driver, DEAD_AFTER_S + 1)
        assert live_drivers(db, study) == []
        assert driver.beat()
        assert len(live_drivers(db, study)) == 1

    def test_a_beat_tells_that_the_study_is_gone(
        self, db: Database, study: optuna.Study, driver: Driver
    ) -> None:
        _age(db, driver, DEAD_AFTER_S + 1)
        delete_study(db, "esol")
        assert not driver.beat()

    def test_a_killed_driver_is_dead_at_once(
        self, db: Database, study: optuna.Study, ready_url: str
    ) -> None:
        db.close()
        killed(_register_and_die, ready_url)
        assert live_drivers(db, study) == []

    def test_the_lowest_free_slot_is_claimed(self, db: Database, driver: Driver) -> None:
        claim = [claim_slot(db, driver.study_id, driver.id, 3) for _ in range(4)]
        assert claim == [0, 1, 2, None]
        release_slot(db, driver.study_id, 1)
        assert claim_slot(db, driver.study_id, driver.id, 3) == 1
        assert claim_slot(db, driver.study_id, driver.id, 5) == 3

    def test_four_processes_claim_forty_slots_once_each(
        self, db: Database, study: optuna.Study, ready_url: str
    ) -> None:
        db.close()
        found = in_processes(4, _claim_until_none, ready_url, 40)
        assert sorted(slot for slots in found for slot in slots) == list(range(40))

    def test_slots_of_the_dead_are_freed_unless_a_trial_has_them(
        self, db: Database, study: optuna.Study, driver: Driver
    ) -> None:
        dead = Driver.register(db, study)
        for owner in (dead, dead, driver):
            claim_slot(db, driver.study_id, owner.id, 9)
        study.ask().set_user_attr("slot", 1)
        assert release_stale_slots(db, study) == []
        dead.leave()
        assert release_stale_slots(db, study) == [0]
        assert claimed_slots(db, driver.study_id) == {1: dead.id, 2: driver.id}

    # ------------------------------------------------------------------------- continuations

    def test_orphans_are_running_trials_of_drivers_that_are_gone(
        self, db: Database, study: optuna.Study, driver: Driver
    ) -> None:
        gone = Driver.register(db, study)
        for owner in (gone.id, driver.id, "0" * 32):
            study.ask().set_user_attr("driver", owner)
        study.ask()  # signed by nobody, and just begun
        finished = study.ask()
        finished.set_user_attr("driver", gone.id)
        study.tell(finished, 1.0)
        assert [trial.number for trial in orphans(db, study)] == [2]
        gone.leave()
        assert [trial.number for trial in orphans(db, study)] == [0, 2]

    def test_an_unsigned_trial_is_an_orphan_after_a_minute(
        self, db: Database, study: optuna.Study, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        study.ask()
        later = db.now() + DEAD_AFTER_S + 1
        monkeypatch.setattr(db, "now", lambda: later)
        assert [trial.number for trial in orphans(db, study)] == [0]

    @pytest.mark.parametrize("head", ["regression", "branched"])
    def test_a_continuation_arrives_with_every_hyperparameter(
        self, db: Database, study: optuna.Study, driver: Driver, head: str
    ) -> None:
        old = _begin(study, driver, head)
        number = continue_trial(db, study, study.trials[0], driver.id, "interrupted")
        assert number == 1
        waiting, ended = study.trials[1], study.trials[0]
        assert waiting.state == TrialState.WAITING
        assert ended.state == TrialState.FAIL
        assert ended.user_attrs["continued_by"] == 1
        assert ended.user_attrs["stop_reason"] == "interrupted"
        new = study.ask()
        assert new.number == 1
        assert suggest(new) == old.params
        assert new.user_attrs == {
            "continues": 0,
            "retry": 0,
            "slot": 4,
            "seed": 11,
            "head": head,
            "checkpoint": "trials/0/epoch_3.pt",
            "bracket": 0,
        }

    def test_an_enqueued_trial_that_was_not_asked_yet_keeps_its_hyperparameters(
        self, db: Database, study: optuna.Study, driver: Driver
    ) -> None:
        study.enqueue_trial({"ffn_type": "branched", "trunk_n_layers": 3, "max_lr": 0.00123})
        study.ask()
        continue_trial(db, study, study.trials[0], driver.id, "orphaned")
        assert suggest(study.ask()) == {
            "ffn_type": "branched",
            "trunk_n_layers": 3,
            "max_lr": 0.00123,
        }

    def test_a_trial_has_one_successor_though_four_processes_want_it(
        self, db: Database, study: optuna.Study, driver: Driver, ready_url: str
    ) -> None:
        _begin(study, driver)
        driver.leave()
        db.close()
        found = in_processes(4, _continue_orphans, ready_url)
        assert sorted(found, key=str) == [[1], [None], [None], [None]] or sorted(
            found, key=str
        ) == [[1], [], [], []]
        assert len(study.trials) == 2

    def test_retries_count_only_deaths_and_end(
        self, db: Database, study: optuna.Study, driver: Driver
    ) -> None:
        _begin(study, driver)
        for reason in ("orphaned", "interrupted", "orphaned", "time_budget"):
            last = study.trials[-1]
            continue_trial(db, study, last, driver.id, reason, max_retries=2)  # type: ignore[arg-type]  # mypy widens the tuple's strings
            suggest(study.ask())
        last = study.trials[-1]
        assert last.user_attrs["retry"] == 2
        assert continue_trial(db, study, last, driver.id, "orphaned", max_retries=2) is None
        ended = study.trials[-1]
        assert ended.number == last.number
        assert ended.state == TrialState.FAIL
        assert ended.user_attrs["stop_reason"] == "orphaned"
        assert "given up" in ended.user_attrs["error"]

    def test_a_trial_that_never_began_fails_without_a_successor(
        self, db: Database, study: optuna.Study, driver: Driver
    ) -> None:
        study.ask()
        assert continue_trial(db, study, study.trials[0], driver.id, "orphaned") is None
        assert [trial.state for trial in study.trials] == [TrialState.FAIL]

    def test_a_trial_that_ended_by_itself_is_not_continued(
        self, db: Database, study: optuna.Study, driver: Driver
    ) -> None:
        trial = _begin(study, driver)
        stale = study.trials[0]
        study.tell(trial, 0.5)
        assert continue_trial(db, study, stale, driver.id, "orphaned") is None
        assert [trial.state for trial in study.trials] == [TrialState.COMPLETE]

    @pytest.mark.parametrize("step", ["enqueue", "note", "fail", "is_replaced_by"])
    def test_a_kill_between_any_two_steps_is_mended(
        self, db: Database, study: optuna.Study, driver: Driver, ready_url: str, step: str
    ) -> None:
        old = _begin(study, driver)
        driver.leave()
        db.close()
        killed(_continue_and_die, ready_url, step)
        mended = mend_continuations(db, study, Driver.register(db, study).id)
        assert mended == ([] if step == "is_replaced_by" else [1])
        assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]
        assert study.trials[0].user_attrs["continued_by"] == 1
        assert orphans(db, study) == []
        assert suggest(study.ask()) == old.params
        assert mend_continuations(db, study, Driver.register(db, study).id) == []

    def test_what_a_living_driver_has_begun_is_left_to_it(
        self, db: Database, study: optuna.Study, driver: Driver
    ) -> None:
        _begin(study, driver)
        other = Driver.register(db, study)
        link = continuing._Link(db, study, 0, other.id, "orphaned")
        assert link.claim()
        assert mend_continuations(db, study, driver.id) == []
        assert len(study.trials) == 1
        assert mend_continuations(db, study, other.id) == [1]

    def test_a_trial_that_ends_while_it_is_being_continued_keeps_its_end(
        self, db: Database, study: optuna.Study, driver: Driver
    ) -> None:
        trial = _begin(study, driver)
        link = continuing._Link(db, study, 0, driver.id, "orphaned")
        assert link.claim()
        link.enqueue()
        study.tell(trial, 0.5)
        assert link.carry_out() is None
        assert [t.state for t in study.trials] == [TrialState.COMPLETE, TrialState.FAIL]
        assert taken_trials(db, study, "nobody") == set()

    def test_a_driver_that_slept_leaves_one_successor_and_learns_of_its_loss(
        self, db: Database, study: optuna.Study, driver: Driver
    ) -> None:
        _begin(study, driver)
        other = Driver.register(db, study)
        slept = continuing._Link(db, study, 0, driver.id, "interrupted")
        assert slept.claim()
        _age(db, driver, DEAD_AFTER_S + 1)
        assert mend_continuations(db, study, other.id) == [1]
        study.enqueue_trial({"max_lr": 1e-3}, {"continues": 0})  # as if it slept just before this
        assert slept.carry_out() is None
        assert [t.state.name for t in study.trials] == ["FAIL", "WAITING", "FAIL"]
        assert taken_trials(db, study, driver.id) == {0}
        assert taken_trials(db, study, other.id) == set()

    def test_epochs_of_a_chain_count_once(
        self, db: Database, study: optuna.Study, driver: Driver
    ) -> None:
        _begin(study, driver).set_user_attr("epochs", 5)
        continue_trial(db, study, study.trials[0], driver.id, "interrupted")
        new = study.ask()
        new.set_user_attr("first_epoch", 6)
        new.set_user_attr("epochs", 9)
        assert epochs_trained(study) == 9
        assert counts(study) == {
            "RUNNING": 1,
            "COMPLETE": 0,
            "PRUNED": 0,
            "FAIL": 1,
            "WAITING": 0,
        }

    def test_best_trials_survive_the_database(self, db: Database, study: optuna.Study) -> None:
        for value in (0.9, 0.5, 0.7):
            study.add_trial(optuna.trial.create_trial(value=value))
        assert [t.number for t in best_trials(open_study(db, "esol"), 2)] == [1, 2]


def _begin(study: optuna.Study, driver: Driver, head: str = "branched") -> optuna.Trial:
    study.enqueue_trial({"ffn_type": head}, {"slot": 4})
    trial = study.ask()
    suggest(trial)
    attributes = {
        "driver": driver.id,
        "seed": 11,
        "head": head,
        "bracket": 0,
        "checkpoint": "trials/0/epoch_3.pt",
    }
    for key, value in attributes.items():
        trial.set_user_attr(key, value)
    return trial


def _age(db: Database, driver: Driver, seconds: float) -> None:
    with db.engine.begin() as connection:
        old = update(tables.drivers).values(beat_at=db.now() - seconds)
        connection.execute(old.where(tables.drivers.c.id == driver.id))


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


def _create_study_and_die(url: str, step: str) -> None:
    setattr(creating, step, die)
    _create_study(url)


def _ask_three(url: str) -> list[int]:
    with open_database(url) as db:
        study = open_study(db, "esol")
        return [study.ask().number for _ in range(3)]


def _register_and_die(url: str) -> None:
    db = open_database(url)
    Driver.register(db, open_study(db, "esol"))
    die()


def _claim_until_none(url: str, total: int) -> list[int]:
    with open_database(url) as db:
        driver = Driver.register(db, open_study(db, "esol"))
        claimed = []
        while (slot := claim_slot(db, driver.study_id, driver.id, total)) is not None:
            claimed.append(slot)
        return claimed


def _continue_orphans(url: str) -> list[int | None]:
    with open_database(url) as db:
        study = open_study(db, "esol")
        driver = Driver.register(db, study)
        return [
            continue_trial(db, study, trial, driver.id, "orphaned") for trial in orphans(db, study)
        ]


def _continue_and_die(url: str, step: str) -> None:
    setattr(continuing._Link, step, die)
    _continue_orphans(url)
