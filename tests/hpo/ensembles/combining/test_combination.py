"""Weights: of units by their out-of-fold predictions, and of the members that make them up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, replace

import numpy as np
import pytest

from chemprop_hpo.hpo.ensembles.combining.combination import MemberKey, Weighting, combined, equal
from chemprop_hpo.hpo.ensembles.combining.out_of_fold import TrainingRows
from tests.hpo.ensembles.scenes import held_out

UNITS = ((1, 0), (1, 1), (2, 0))
RNG = np.random.default_rng(0)
LABELS = RNG.normal(size=(200, 2))


def noisy(*errors: float) -> np.ndarray:
    """Return predictions with an error for each target."""
    return LABELS + RNG.normal(size=LABELS.shape) * np.array(errors)


def shares_of(weights: np.ndarray, members: list[MemberKey]) -> Mapping[MemberKey, np.ndarray]:
    return Weighting(UNITS, weights, weights[:, None, :]).of_members(members)


def test_units_of_one_rank_count_the_same_and_no_other() -> None:
    columns = dict.fromkeys(UNITS, np.zeros(4))
    found = equal(held_out(columns, np.zeros(4), {0: [0] * 4, 1: [0] * 4}), 1)
    assert found.weights.tolist() == [[0.5], [0.5], [0.0]]
    assert found.chosen == ()


def test_equally_good_units_stay_a_plain_mean() -> None:
    columns = {unit: noisy(0.5, 0.5) for unit in UNITS}
    found = combined(held_out(columns, LABELS, {0: [0] * 200}), classification=False, seed=0)
    assert [one.used for one in found.chosen] == ["mean", "mean"]
    assert found.weights == pytest.approx(1 / 3)


def test_a_unit_that_is_bad_for_one_target_loses_its_weight_there_only() -> None:
    columns = {(1, 0): noisy(0.1, 0.5), (1, 1): noisy(0.1, 0.5), (2, 0): noisy(4.0, 0.5)}
    found = combined(held_out(columns, LABELS, {0: [0] * 200}), classification=False, seed=0)
    assert [one.used for one in found.chosen] == ["greedy", "mean"]
    assert found.chosen[0].gain.low > 0
    assert found.weights[2, 0] < 0.05
    assert found.weights[:, 1] == pytest.approx(1 / 3)
    assert found.weights.sum(axis=0) == pytest.approx(1.0)


def test_a_classification_is_weighed_by_probabilities() -> None:
    labels = (RNG.random(300) < 0.5).astype(float)
    good = np.clip(np.where(labels == 1, 0.9, 0.1) + RNG.normal(0, 0.03, 300), 0.01, 0.99)
    columns = {(1, 0): good, (2, 0): RNG.uniform(0.01, 0.99, 300)}
    found = combined(held_out(columns, labels, {0: [0] * 300}), classification=True, seed=0)
    assert found.chosen[0].used == "greedy"
    assert found.weights[0, 0] > 0.9


def test_rows_that_stand_four_times_are_weighed_as_if_they_stood_once() -> None:
    columns = {(rank, 0): LABELS + RNG.normal(size=LABELS.shape) * 0.5 for rank in range(1, 9)}
    once = held_out(columns, LABELS, {0: [0] * 200})
    rows = np.repeat(np.arange(200), 4)
    names = tuple(once.rows.canonical[row] for row in rows)
    four = replace(
        once,
        rows=TrainingRows(names, names, LABELS[rows]),
        columns=once.columns[:, rows],
        folds={0: np.zeros(800, np.int64)},
    )
    expected, found = (combined(one, classification=False, seed=0).chosen for one in (once, four))
    for one, other in zip(expected, found, strict=True):
        assert other.used == one.used == "mean"
        assert astuple(other.gain) == pytest.approx(astuple(one.gain))


def test_the_same_seed_finds_the_same_weights() -> None:
    data = held_out({unit: noisy(0.5, 0.6) for unit in UNITS}, LABELS, {0: [0] * 200})
    one, other = (combined(data, classification=False, seed=3) for _ in range(2))
    assert np.array_equal(one.weights, other.weights)
    assert [a.gain for a in one.chosen] == [b.gain for b in other.chosen]


def test_members_share_their_unit_s_weight_and_all_together_weigh_one() -> None:
    weights = np.array([[0.5, 0.0], [0.25, 0.5], [0.25, 0.5]])
    members = [(1, 0, 0), (1, 0, 1), (1, 1, 0), (1, 1, 1), (2, 0, 0), (2, 0, 1)]
    shares = shares_of(weights, members)
    assert shares[1, 0, 1].tolist() == [0.25, 0.0]
    assert shares[2, 0, 0].tolist() == [0.125, 0.25]
    assert np.sum([*shares.values()], axis=0) == pytest.approx(1.0)


def test_of_a_unit_with_a_failed_member_the_others_take_the_whole_weight() -> None:
    weights = np.array([[0.5], [0.25], [0.25]])
    members = [(1, 0, 0), (1, 0, 1), (1, 0, 2), (1, 1, 0), (1, 1, 2), (2, 0, 1)]
    shares = shares_of(weights, members)
    assert shares[1, 1, 0].tolist() == [0.125]
    assert shares[2, 0, 1].tolist() == [0.25]
    assert np.sum([*shares.values()], axis=0) == pytest.approx(1.0)


def test_members_without_any_weight_are_left_out() -> None:
    weights = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    members = [(1, 0, 0), (1, 1, 0), (2, 0, 0)]
    assert list(shares_of(weights, members)) == members[:2]
