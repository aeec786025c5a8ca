"""The sweep in numbers."""

from __future__ import annotations

import pytest

from chemprop_hpo.hpo.events import (
    TrialStarted,
)
from chemprop_hpo.hpo.progress.state import SweepState
from tests.hpo.progress.scenes import Clock, ended, epoch, running_state, started


def test_best_follows_the_direction() -> None:
    lower, higher = SweepState(started(), Clock()), SweepState(started(mode="max"), Clock())
    for state in (lower, higher):
        for number, value in enumerate([0.5, 0.3, 0.7]):
            state.trial_ended(ended(number, "COMPLETE", value, 50, "max_t"))
    assert (lower.best, higher.best) == (0.3, 0.7)


def test_a_stopped_trial_is_never_the_best() -> None:
    state = SweepState(started(best=0.5), Clock())
    assert not state.trial_ended(ended(1, "PRUNED", 0.1, 10, "asha"))
    assert state.best == 0.5


def test_an_interrupted_trial_uses_no_budget() -> None:
    state = SweepState(started(), Clock())
    state.trial_ended(ended(0, "FAIL", None, 3, "interrupted"))
    state.trial_ended(ended(1, "FAIL", None, 3, "nan"))
    assert state.used == 1


def test_a_chain_of_continuations_counts_once() -> None:
    state = SweepState(started(counts={"COMPLETE": 2, "FAIL": 2}, continued=1), Clock())
    assert (state.used, state.counts["FAIL"]) == (3, 1)
    state.trial_started(TrialStarted(4, {}, "branched", 0, continues=2))
    state.trial_ended(ended(4, "FAIL", None, 20, "orphaned"))
    state.trial_started(TrialStarted(5, {}, "branched", 0, continues=4))
    state.trial_ended(ended(5, "COMPLETE", 0.4, 50, "max_t"))
    assert (state.used, state.counts["FAIL"], state.counts["COMPLETE"]) == (4, 1, 3)


def test_time_left_is_an_upper_bound_until_a_trial_has_ended() -> None:
    clock = Clock()
    state = SweepState(started(num_samples=3), clock)
    assert state.time_left() == "time left not known yet"
    state.trial_started(TrialStarted(0, {}, "branched", 0))
    for at in range(1, 11):
        clock.now += 1
        state.epoch_ended(epoch(0, at, 1.0))
    # One epoch a second: 40 of this trial and 2 x 50 to come.
    assert state.time_left() == "at most about 3 min left"
    state.trial_ended(ended(0, "PRUNED", 1.0, 10, "asha"))
    assert state.time_left() == "less than a minute left"


def test_pace_forgets_what_is_long_past() -> None:
    clock = Clock()
    state = running_state(trials=1, clock=clock)
    assert state.epochs_per_s() == pytest.approx(1.0)
    clock.now += 1000
    assert state.epochs_per_s() is None
