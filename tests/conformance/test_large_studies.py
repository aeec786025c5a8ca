"""What is done another way than Optuna does it, since a study may be large: with the same result."""

from __future__ import annotations

import math

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from chemprop_hpo.storage import reading
from chemprop_hpo.storage import slots as sharing
from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.ownership import Driver, claim_slot
from tests.conformance.made import suggest


def fill(study: optuna.Study) -> None:
    """Let trials end in every way, with every kind of value."""
    for value in (0.5, math.inf, -math.inf):
        trial = study.ask()
        suggest(trial)
        trial.set_user_attr("metrics", {"val_loss": 0.5})
        trial.report(math.nan, 2)
        trial.report(value, 1)
        study.tell(trial, value)
    study.tell(study.ask(), state=TrialState.PRUNED)
    study.tell(study.ask(), state=TrialState.FAIL)
    trial = study.ask()
    trial.set_constraint("memory", 1.0)
    trial.report(math.inf, 1)
    study.enqueue_trial({"dropout": 0.1})


def shown(trials: list[FrozenTrial]) -> list[str]:
    return [repr(trial) for trial in trials]  # two NaNs are not equal


@pytest.mark.parametrize("many", [500, 2])
def test_trials_are_read_as_optuna_reads_them(
    db: Database, study: optuna.Study, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_MANY", many)
    fill(study)
    study_id, stock = db.study_id(study), RDBStorage._get_trials
    ids = [trial._trial_id for trial in study.get_trials()]
    chosen = [
        (None, set(), -1),
        (None, {ids[0], ids[2], ids[3]}, ids[3]),
        ((TrialState.RUNNING, TrialState.WAITING), set(), ids[1]),
        (None, set(), ids[-1]),
    ]
    for states, among, after in chosen:
        ours = db.storage._get_trials(study_id, states, among, after)
        theirs = stock(db.storage, study_id, states, among, after)
        if len(among) <= many:
            assert shown(ours) == shown(theirs)
        else:  # more than asked for does no harm, less would
            assert set(shown(theirs)) <= set(shown(ours))
    assert shown([db.storage.get_trial(ids[0])]) == shown(
        [RDBStorage.get_trial(db.storage, ids[0])]
    )


def test_an_unknown_trial_or_study_is_an_error(db: Database, study: optuna.Study) -> None:
    with pytest.raises(KeyError):
        db.storage.get_trial(9999)
    with pytest.raises(KeyError):
        db.storage._get_trials(9999, None, set(), -1)


# ----------------------------------------------------------------------------- points


def begun(db: Database, study: optuna.Study) -> Trial:
    trial_id = db.storage.create_running_trial(db.study_id(study), {"driver": "d"})
    study.get_trials()
    return Trial(study, trial_id)


def test_a_point_is_written_as_a_whole_and_in_its_order(db: Database, study: optuna.Study) -> None:
    for _ in range(2):  # of the second it is known what was asked before
        trial = begun(db, study)
        with db.storage.point_of(trial._trial_id):
            given = suggest(trial)
            assert db.storage.get_trial(trial._trial_id).params == {}
        stored = db.storage.get_trial(trial._trial_id)
        assert list(stored.params.items()) == list(given.items())
        assert stored.distributions == trial.distributions


def test_a_point_that_is_left_by_an_error_is_not_written(db: Database, study: optuna.Study) -> None:
    trial = begun(db, study)

    def give_up() -> None:
        with db.storage.point_of(trial._trial_id):
            suggest(trial)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        give_up()
    assert db.storage.get_trial(trial._trial_id).params == {}
    again = Trial(study, trial._trial_id)
    suggest(again)
    assert db.storage.get_trial(trial._trial_id).params == again.params


def test_no_point_is_given_to_a_trial_that_has_ended(db: Database, study: optuna.Study) -> None:
    trial = begun(db, study)

    def give_too_late() -> None:
        with db.storage.point_of(trial._trial_id):
            suggest(trial)
            study.tell(trial, state=TrialState.FAIL)

    with pytest.raises(UpdateFinishedTrialError):
        give_too_late()
    assert db.storage.get_trial(trial._trial_id).params == {}


# ----------------------------------------------------------------------------- slots


def test_slots_are_claimed_in_order_without_reading_all_claims(
    db: Database, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "claimed_slots", None)
    claimed = [claim_slot(db, driver.study_id, driver.id, 3, none_lost=True) for _ in range(4)]
    assert claimed == [0, 1, 2, None]


def test_a_slot_that_was_given_back_is_claimed_before_the_next(
    db: Database, driver: Driver
) -> None:
    for used in range(3):
        claim_slot(db, driver.study_id, driver.id, 9, range(used))
    assert sharing._release_unused(db, driver.study_id, 1, driver.id)
    given = [
        claim_slot(db, driver.study_id, driver.id, 9, {0, 2, *new}, none_lost=True)
        for new in ((), (1,))
    ]
    assert given == [1, 3]


def test_a_trial_is_looked_for_only_after_those_that_were_there(
    db: Database, study: optuna.Study, driver: Driver
) -> None:
    given = {"driver": driver.id, "slot": claim_slot(db, driver.study_id, driver.id, 9)}
    before = study.ask()._trial_id
    first = db.storage.create_running_trial(driver.study_id, given, after=before)
    assert db.storage.create_running_trial(driver.study_id, given, after=before) == first
