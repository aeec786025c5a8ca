"""ASHA: the same decisions after a rebuild, brackets that are a function of seed and number."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sqlalchemy.exc import OperationalError

from chemprop_hpo.configs.schema import SchedulerConfig
from chemprop_hpo.hpo.search.asha import Asha, PastTrial, bracket_of, rung_counts
from chemprop_hpo.hpo.search.reports import TrialReport

MAX_EPOCHS = 27


def curve(trial: int) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(trial)
    values = rng.uniform(0.2, 1.0) + rng.normal(0, 0.05, MAX_EPOCHS)
    return np.minimum.accumulate(values)


class Ladder:
    """Runs trials one after another through the real scheduler, without Ray."""

    def __init__(self, brackets: int) -> None:
        self.config = SchedulerConfig(grace_period=3, reduction_factor=3, brackets=brackets)
        self.rungs = rung_counts(self.config, MAX_EPOCHS)
        self.asha = Asha(self.config, MAX_EPOCHS, "min", self.chain_of)

    def chain_of(self, ray_id: str) -> tuple[str, int]:
        return ray_id, bracket_of(11, int(ray_id), self.rungs)

    def run(self, trial: int, start: int = 1) -> int:
        best = curve(trial)
        rider = SimpleNamespace(trial_id=str(trial))
        for epoch in range(start, MAX_EPOCHS + 1):
            result = {"epoch": epoch, "best": best[epoch - 1]}
            if self.asha.on_trial_result(None, rider, result) == "STOP":
                return epoch
        return MAX_EPOCHS


@pytest.mark.parametrize("brackets", [1, 3])
def test_decisions_after_a_rebuild_equal_those_of_the_uninterrupted_run(brackets: int) -> None:
    straight = Ladder(brackets)
    expected = [straight.run(t) for t in range(40)]
    first = Ladder(brackets)
    ends = [first.run(t) for t in range(20)]
    second = Ladder(brackets)
    second.asha.rebuild(
        PastTrial(str(t), second.chain_of(str(t))[1], dict(enumerate(curve(t)[: ends[t]], 1)))
        for t in range(20)
    )
    ends += [second.run(t) for t in range(20, 40)]
    assert ends == expected
    assert len(set(expected)) > 1


def test_a_continuation_stands_on_a_rung_once() -> None:
    ladder = Ladder(1)
    ladder.asha.rebuild([PastTrial("5", 0, dict(enumerate(curve(5)[:10], 1)))])
    ladder.run(5, start=10)
    recorded = ladder.asha._brackets[0]._rungs
    assert all(list(riders).count("5") <= 1 for _, riders in recorded)


def test_only_rungs_stop_a_trial_and_the_stopped_are_known() -> None:
    ladder = Ladder(1)
    ends = {t: ladder.run(t) for t in range(20)}
    milestones = {3, 9, 27}
    assert set(ends.values()) <= milestones
    assert ladder.asha.stopped == {str(t) for t, end in ends.items() if end < MAX_EPOCHS}


def test_a_grace_period_beyond_the_last_epoch_stops_nobody() -> None:
    config = SchedulerConfig(grace_period=30)
    asha = Asha(config, 5, "min", lambda ray_id: (ray_id, 0))
    rider = SimpleNamespace(trial_id="0")
    assert asha.on_trial_result(None, rider, {"epoch": 4, "best": 1.0}) == "CONTINUE"


def test_brackets_of_trials_follow_the_odds_of_their_rungs() -> None:
    rungs = rung_counts(SchedulerConfig(grace_period=3, reduction_factor=3, brackets=3), 27)
    drawn = np.bincount([bracket_of(0, n, rungs) for n in range(3000)], minlength=3) / 3000
    odds = np.exp(rungs) / np.exp(rungs).sum()
    np.testing.assert_allclose(drawn, odds, atol=0.03)
    assert [bracket_of(0, n, rungs) for n in range(9)] == [
        bracket_of(0, n, rungs) for n in range(9)
    ]


def test_a_study_resumed_with_fewer_brackets_keeps_its_rungs() -> None:
    ladder = Ladder(1)
    ladder.asha.rebuild([PastTrial("0", 2, {3: 0.5, 9: 0.4})])
    assert [dict(riders) for _, riders in ladder.asha._brackets[0]._rungs][-1] == {"0": -0.5}


def test_a_study_resumed_with_more_brackets_keeps_each_trial_in_its_own() -> None:
    ladder = Ladder(3)
    ladder.asha.rebuild([PastTrial("0", 0, {3: 0.5, 9: 0.4})])
    standing = [[dict(riders) for _, riders in bracket._rungs] for bracket in ladder.asha._brackets]
    assert standing == [[{}, {"0": -0.4}, {"0": -0.5}], [{}, {}], [{}]]


def test_maximised_metrics_keep_the_larger() -> None:
    config = SchedulerConfig(grace_period=1, reduction_factor=2)
    asha = Asha(config, 8, "max", lambda ray_id: (ray_id, 0))
    good, bad = SimpleNamespace(trial_id="0"), SimpleNamespace(trial_id="1")
    assert asha.on_trial_result(None, good, {"epoch": 1, "best": 0.9}) == "CONTINUE"
    assert asha.on_trial_result(None, bad, {"epoch": 1, "best": 0.1}) == "STOP"


# --------------------------------------------------------------------------- what is recorded


def records(asha: Asha, bracket: int = 0) -> dict[float, dict[str, float]]:
    return {milestone: dict(riders) for milestone, riders in asha._brackets[bracket]._rungs}


def alone(others: Callable[[], Iterable[PastTrial]] | None = None, grace_period: int = 3) -> Asha:
    config = SchedulerConfig(grace_period=grace_period, reduction_factor=3)
    return Asha(config, MAX_EPOCHS, "max", lambda ray_id: (ray_id, 0), others)


def tell(asha: Asha, key: str, epoch: int, best: float, curve: tuple[float, ...] = ()) -> str:
    report = TrialReport(epoch, best, best, epoch, curve=curve)
    return asha.on_trial_result(None, SimpleNamespace(trial_id=key), report.as_result())


def test_a_trial_that_is_far_stands_on_each_rung_with_what_it_had_there() -> None:
    asha = alone()
    asha.record("a", 0, {epoch: epoch / 10 for epoch in range(1, 13)})
    assert records(asha) == {27: {}, 9: {"a": 0.9}, 3: {"a": 0.3}}


def test_recording_again_changes_nothing_also_where_epochs_are_missing() -> None:
    asha = alone()
    for _ in range(2):
        asha.record("a", 0, {4: 0.4, 12: 1.2})
        asha.record("b", 0, {12: 1.3})
    assert records(asha) == {27: {}, 9: {"a": 1.2, "b": 1.3}, 3: {"a": 0.4}}


def test_a_checkpoint_ahead_of_the_study_brings_its_epochs_without_a_decision() -> None:
    asha = alone()
    asha.rebuild([PastTrial(key, 0, {3: 1.0, 9: 1.0}) for key in "xyz"])
    asha.record("a", 0, {1: 0.1, 2: 0.2})
    assert tell(asha, "a", 8, 0.8, tuple(e / 10 for e in range(1, 9))) == "CONTINUE"
    assert records(asha)[3]["a"] == 0.3
    assert tell(asha, "a", 9, 0.9) == "STOP"


def test_the_epoch_of_a_checkpoint_itself_is_decided_unless_it_was_before() -> None:
    asha = alone()
    asha.rebuild([PastTrial(key, 0, {3: 1.0}) for key in "xyz"])
    curve = (0.1, 0.2, 0.3)
    asha.record("b", 0, dict(enumerate(curve, start=1)))
    assert tell(asha, "a", 3, 0.3, curve) == "STOP"
    assert tell(asha, "b", 3, 0.3, curve) == "CONTINUE"


def test_a_trial_that_ended_by_itself_leaves_the_epochs_of_its_checkpoint() -> None:
    asha = alone()
    curve = tuple(e / 10 for e in range(1, 11))
    report = TrialReport(10, 1.0, 1.0, 10, stop_reason="early_stopping", curve=curve)
    asha.on_trial_complete(None, SimpleNamespace(trial_id="a"), report.as_result())
    assert records(asha) == {27: {}, 9: {"a": 0.9}, 3: {"a": 0.3}}


# --------------------------------------------------------------------------- other drivers


class Others:
    """What other drivers reported; the next answer may be an error."""

    def __init__(self, *answers: list[PastTrial] | Exception) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self) -> list[PastTrial]:
        self.asked += 1
        answer = self.answers.pop(0) if self.answers else []
        if isinstance(answer, Exception):
            raise answer
        return answer


def outage() -> Exception:
    return OperationalError("SELECT 1", {}, Exception("connection refused"))


def test_a_decision_hears_what_other_drivers_have_reported_by_then() -> None:
    theirs = [PastTrial(key, 0, {3: 0.9}) for key in "xyz"]
    assert tell(alone(Others(theirs)), "a", 3, 0.5) == "STOP"
    assert tell(alone(), "a", 3, 0.5) == "CONTINUE"


def test_others_are_asked_once_for_each_rung_and_at_no_other_epoch() -> None:
    others = Others()
    asha = alone(others)
    asked = []
    for epoch in range(1, 13):
        tell(asha, "a", epoch, 0.5)
        asked.append(others.asked)
    assert asked == [0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2]


def test_others_are_not_asked_for_what_was_decided_before_the_resume() -> None:
    others = Others()
    asha = alone(others)
    asha.record("a", 0, {3: 0.5})
    assert tell(asha, "a", 3, 0.5) == "CONTINUE"
    assert others.asked == 0


def test_while_the_database_is_away_the_known_trials_decide_and_it_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    others = Others(outage(), outage(), [], outage())
    asha = alone(others)
    asha.rebuild([PastTrial(key, 0, {3: 0.5}) for key in "xyz"])
    with caplog.at_level(logging.WARNING):
        assert [tell(asha, key, 3, best) for key, best in (("a", 0.1), ("b", 0.9))] == [
            "STOP",
            "CONTINUE",
        ]
        assert len(caplog.messages) == 1
        tell(asha, "c", 3, 0.5)
        tell(asha, "d", 3, 0.5)
        assert len(caplog.messages) == 2
    assert others.asked == 4


def test_any_other_error_of_the_study_is_not_hidden() -> None:
    with pytest.raises(KeyError):
        tell(alone(Others(KeyError("no such study"))), "a", 3, 0.5)
