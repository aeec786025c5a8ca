"""ASHA: the same decisions after a rebuild, brackets that are a function of seed and number."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from chemprop_hpo.configs.schema import SchedulerConfig
from chemprop_hpo.hpo.search.asha import Asha, PastTrial, bracket_of, rung_counts

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


def test_maximised_metrics_keep_the_larger() -> None:
    config = SchedulerConfig(grace_period=1, reduction_factor=2)
    asha = Asha(config, 8, "max", lambda ray_id: (ray_id, 0))
    good, bad = SimpleNamespace(trial_id="0"), SimpleNamespace(trial_id="1")
    assert asha.on_trial_result(None, good, {"epoch": 1, "best": 0.9}) == "CONTINUE"
    assert asha.on_trial_result(None, bad, {"epoch": 1, "best": 0.1}) == "STOP"
