from __future__ import annotations

import numpy as np
import pytest

from chemprop_hpo.hpo.evaluation.spread import mean_and_spread


def test_equal_weights_give_the_mean_and_the_unbiased_standard_deviation() -> None:
    outputs = np.random.default_rng(0).normal(size=(7, 5))
    mean, std = mean_and_spread(outputs, np.ones(7))
    np.testing.assert_allclose(mean, outputs.mean(axis=0))
    np.testing.assert_allclose(std, outputs.std(axis=0, ddof=1))


def test_members_without_an_output_or_a_weight_are_left_out() -> None:
    outputs = np.array([[1.0, np.nan, np.nan], [3.0, 3.0, np.nan], [99.0, 99.0, 99.0]])
    mean, std = mean_and_spread(outputs, [0.25, 0.75, 0.0])
    np.testing.assert_allclose(mean, [2.5, 3.0, np.nan])
    assert np.isnan(std[1:]).all()
    assert std[0] == pytest.approx(np.sqrt(0.25 * 1.5**2 + 0.75 * 0.5**2) / np.sqrt(1 - 0.625))


def test_the_spread_does_not_depend_on_how_many_members_there_are() -> None:
    draw = np.random.default_rng(1).normal(size=(50, 20_000))
    few, many = (np.square(mean_and_spread(draw[:m], np.ones(m))[1]).mean() for m in (2, 50))
    assert few == pytest.approx(many, rel=0.05)
    assert many == pytest.approx(1.0, rel=0.05)


def test_each_row_may_have_weights_of_its_own() -> None:
    outputs = np.random.default_rng(2).normal(size=(3, 4))
    weights = np.random.default_rng(3).random((3, 4))
    mean, std = mean_and_spread(outputs, weights)
    for row in range(4):
        alone = mean_and_spread(outputs[:, [row]], weights[:, row])
        assert (mean[row], std[row]) == pytest.approx((alone[0][0], alone[1][0]))


@pytest.mark.parametrize("members", range(1, 41))
def test_the_mean_of_members_that_agree_is_what_they_say(members: int) -> None:
    # Sums of shares such as 1/6 come to a little more than one.
    mean, _ = mean_and_spread(np.ones((members, 1)), np.full(members, 1 / members))
    assert mean.tolist() == [1.0]
