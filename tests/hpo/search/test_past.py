"""What ASHA hears of the study: every chain once, and only what is new."""

from __future__ import annotations

import optuna
import pytest
from optuna import Study
from optuna.storages import InMemoryStorage
from optuna.trial import Trial, TrialState

from chemprop_hpo.hpo.search.asha import PastTrial
from chemprop_hpo.hpo.search.past import PastTrials
from chemprop_hpo.storage.database import open_database


@pytest.fixture
def study() -> Study:
    return optuna.create_study(storage=InMemoryStorage())


def begin(study: Study, key: str, bracket: int = 0) -> Trial:
    trial = study.ask()
    trial.set_user_attr("checkpoint", key)
    trial.set_user_attr("bracket", bracket)
    return trial


def report(trial: Trial, **best: float) -> None:
    for epoch, value in best.items():
        trial.report(value, int(epoch.removeprefix("e")))


def test_a_look_shows_what_was_reported_since_the_one_before(study: Study) -> None:
    past = PastTrials(study)
    trial = begin(study, "a", bracket=2)
    report(trial, e1=0.9)
    assert past.look() == [PastTrial("a", 2, {1: 0.9})]
    assert past.look() == []
    report(trial, e2=0.8)
    assert past.look() == [PastTrial("a", 2, {1: 0.9, 2: 0.8})]


def test_the_last_epochs_of_a_trial_that_has_ended_since_are_shown(study: Study) -> None:
    past = PastTrials(study)
    trial = begin(study, "a")
    report(trial, e1=0.9)
    past.look()
    report(trial, e2=0.8)
    study.tell(trial, state=TrialState.PRUNED)
    assert past.look() == [PastTrial("a", 0, {1: 0.9, 2: 0.8})]
    assert past.look() == []


def test_a_finished_trial_is_read_once(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    past = PastTrials(study)
    for key in "abc":
        trial = begin(study, key)
        report(trial, e1=0.5)
        study.tell(trial, 0.5)
    past.look()
    read: list[int] = []
    monkeypatch.setattr(PastTrials, "_is_news", lambda self, trial: bool(read.append(trial.number)))
    begin(study, "d")
    past.look()
    assert read == [3]


def test_a_trial_and_its_continuation_are_one_chain(study: Study) -> None:
    first = begin(study, "a")
    report(first, e1=0.9, e2=0.8, e3=0.7)
    study.tell(first, state=TrialState.FAIL)
    report(begin(study, "a"), e3=0.7, e4=0.6)
    assert PastTrials(study).look() == [PastTrial("a", 0, {1: 0.9, 2: 0.8, 3: 0.7, 4: 0.6})]


def test_trials_that_wait_or_have_reported_nothing_are_passed_over(study: Study) -> None:
    study.enqueue_trial({}, user_attrs={"checkpoint": "a", "bracket": 0})
    study.ask()
    begin(study, "b")
    assert PastTrials(study).look() == []


def test_failed_trials_stay_on_their_rungs(study: Study) -> None:
    trial = begin(study, "a")
    report(trial, e1=0.9)
    study.tell(trial, state=TrialState.FAIL)
    assert [past.key for past in PastTrials(study).look()] == ["a"]


def test_a_trial_of_another_process_is_seen_while_it_runs(sqlite_url: str) -> None:
    with open_database(sqlite_url) as mine, open_database(sqlite_url) as theirs:
        here = optuna.create_study(study_name="s", storage=mine.storage)
        there = optuna.load_study(study_name="s", storage=theirs.storage)
        past = PastTrials(here)
        trial = begin(there, "a")
        report(trial, e1=0.9)
        assert past.look() == [PastTrial("a", 0, {1: 0.9})]
        report(trial, e2=0.8)
        assert past.look() == [PastTrial("a", 0, {1: 0.9, 2: 0.8})]
