"""What ASHA hears of the study: every chain once, and only what is new."""

from __future__ import annotations

import optuna
import pytest
from optuna import Study
from optuna.storages import InMemoryStorage
from optuna.trial import Trial, TrialState

from chemprop_hpo.hpo.search.asha import PastTrial
from chemprop_hpo.hpo.search.past import OtherDrivers, PastTrials
from chemprop_hpo.storage.database import open_database
from chemprop_hpo.storage.drivers import DriverRow, Roster


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


class Drivers:
    """Who works on a study, as it is said by hand; and how often all trials were looked at."""

    def __init__(self, study: Study) -> None:
        self.alive = {"me": True}
        self.left_at = 1.0
        self.looks = 0
        self._past = PastTrials(study)
        self._others = OtherDrivers(self, "me", self._roster)  # type: ignore[arg-type]  # looks below

    def look(self) -> list[PastTrial]:
        self.looks += 1
        return self._past.look()

    def hear(self) -> list[str]:
        return [past.key for past in self._others.look()]

    def _roster(self) -> Roster:
        left = {name: None if alive else self.left_at for name, alive in self.alive.items()}
        rows = {
            name: DriverRow(name, 1, "elsewhere", "boot", 1, 0.0, 0.0, 0.0, at)
            for name, at in left.items()
        }
        return Roster(rows, now=1.0, up_since=0.0)


def test_one_that_came_back_and_is_gone_again_is_heard(study: Study) -> None:
    drivers = Drivers(study)
    drivers.alive["other"] = False
    assert drivers.hear() == drivers.hear() == []
    assert drivers.looks == 1
    report(begin(study, "a"), e1=0.9)
    drivers.left_at = 2.0
    assert drivers.hear() == ["a"]


def test_who_works_alone_looks_at_nothing_after_the_first_time(study: Study) -> None:
    drivers = Drivers(study)
    report(begin(study, "a"), e1=0.9)
    assert drivers.hear() == ["a"]
    report(begin(study, "b"), e1=0.9)
    assert drivers.hear() == []
    assert drivers.looks == 1


def test_who_has_company_looks_each_time_and_once_after_it_has_left(study: Study) -> None:
    drivers = Drivers(study)
    drivers.hear()
    drivers.alive["you"] = True
    for key in "ab":
        report(begin(study, key), e1=0.9)
        assert drivers.hear() == [key]
    report(begin(study, "last words"), e1=0.9)
    drivers.alive["you"] = False
    assert drivers.hear() == ["last words"]
    looks = drivers.looks
    assert drivers.hear() == []
    assert drivers.looks == looks


def test_a_driver_that_came_and_went_between_two_looks_is_heard(study: Study) -> None:
    drivers = Drivers(study)
    drivers.hear()
    report(begin(study, "a"), e1=0.9)
    drivers.alive["you"] = False
    assert drivers.hear() == ["a"]
