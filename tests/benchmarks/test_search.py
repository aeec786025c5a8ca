"""Replays of sweeps from a table of trainings."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from curves import EPOCHS, Curve, Point, key_of, points_of, settings_of
from search import REPORT_S, TRIAL_S, WORKERS, Table, Way, replay

from chemprop_hpo.configs.load import load_stored

EPOCH_S = 0.5
TRIAL_WHOLE_S = TRIAL_S + EPOCHS * (EPOCH_S + REPORT_S)
WHOLE_TRIALS = 6


def _table(curve_of: Callable[[Point], list[float]]) -> Table:
    settings = settings_of("esol", Path("data"), Path("out"))
    curves = {}
    for point in points_of(load_stored(settings).config):
        values = curve_of(point)
        n_begun = min(len(values) + 1, EPOCHS)
        curves[key_of(point)] = Curve(point, values, [EPOCH_S] * n_begun)
    return Table(settings, curves, WHOLE_TRIALS * TRIAL_WHOLE_S)


def _falling(point: Point) -> list[float]:
    """Return a curve that ends the lower, the nearer its learning rate is to 0.001."""
    height = 1 + abs(math.log10(point["max_lr"]) + 3)
    return [height + 1 / epoch for epoch in range(1, EPOCHS + 1)]


RANDOM = Way("random", sampler="random", scheduler="none")


def test_two_workers_train_as_long_as_their_curves_say() -> None:
    found = replay(_table(_falling), RANDOM, 0)
    # Those that the end of the time cuts off have begun.
    assert found.trials == (WHOLE_TRIALS + 1) * WORKERS
    for moment in found.moments:
        assert round(moment / TRIAL_WHOLE_S, 6).is_integer()
    assert list(found.values) == sorted(found.values, reverse=True)


def test_nothing_counts_before_the_first_trial_is_complete() -> None:
    found = replay(_table(_falling), RANDOM, 0)
    assert math.isnan(found.at(TRIAL_WHOLE_S * 0.99))
    assert found.at(TRIAL_WHOLE_S * 1.01) in found.values
    assert found.at(math.inf) == found.values[-1]


def test_asha_has_time_for_more_trials() -> None:
    table = _table(_falling)
    assert replay(table, Way("asha"), 0).trials > 1.5 * replay(table, RANDOM, 0).trials


@pytest.mark.parametrize("scheduler", ["none", "asha"])
def test_a_training_that_failed_takes_time_and_is_no_result(scheduler: str) -> None:
    def breaks_off(point: Point) -> list[float]:
        return _falling(point)[:4] if point["max_lr"] == 1e-3 else _falling(point)

    for seed in range(3):
        found = replay(_table(breaks_off), Way("x", sampler="random", scheduler=scheduler), seed)
        assert found.trials > 0
        assert all(value >= 1 + 0.4 for value in found.values)


def test_a_seed_decides_a_replay() -> None:
    table = _table(_falling)
    assert replay(table, Way("tpe + ASHA"), 3) == replay(table, Way("tpe + ASHA"), 3)
    assert replay(table, Way("tpe + ASHA"), 3) != replay(table, Way("tpe + ASHA"), 4)
