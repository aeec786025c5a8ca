import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve

from chemprop_hpo.hpo.evaluation.reliability import (
    expected_calibration_error,
    reliability,
    wilson_interval,
)

NAN = np.nan


def calibrated(n, seed=0):
    random = np.random.default_rng(seed)
    probabilities = random.random(n)
    return probabilities, (random.random(n) < probabilities).astype(float)


@pytest.mark.parametrize("bins", [3, 10])
def test_the_curve_is_that_of_scikit_learn(bins):
    probabilities, labels = calibrated(300)
    observed, predicted = calibration_curve(labels, probabilities, n_bins=bins)
    curve = reliability(probabilities, labels, bins)
    np.testing.assert_allclose(curve.predicted, predicted)
    np.testing.assert_allclose(curve.observed, observed)
    assert curve.count.sum() == 300


def test_both_ends_belong_to_a_bin_and_empty_bins_are_left_out():
    curve = reliability([0.0, 0.05, 1.0, 0.95, 0.95], [0, 0, 1, 1, 0])
    assert curve.count.tolist() == [2, 3]
    np.testing.assert_allclose(curve.predicted, [0.025, 2.9 / 3])
    np.testing.assert_allclose(curve.observed, [0, 2 / 3])


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (0, 20), (7, 20), (20, 20), (400, 1000)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_shares_have_the_interval_of_wilson(hits, n, level):
    expected = binomtest(hits, n).proportion_ci(level, method="wilson")
    low, high = wilson_interval([hits], [n], level)
    assert low == pytest.approx([expected.low], abs=1e-12)
    assert high == pytest.approx([expected.high], abs=1e-12)


def test_the_curve_carries_its_intervals():
    curve = reliability(*calibrated(200), bins=4)
    low, high = wilson_interval(np.round(curve.observed * curve.count), curve.count)
    np.testing.assert_allclose(curve.low, low)
    np.testing.assert_allclose(curve.high, high)


def test_a_share_of_nothing_has_no_interval():
    assert np.isnan(wilson_interval(0, 0)).all()


def test_intervals_hold_the_probability_nearly_as_often_as_they_say():
    curve = reliability(*calibrated(40_000, seed=1), bins=100)
    held = (curve.low <= curve.predicted) & (curve.predicted <= curve.high)
    assert held.mean() >= 0.85


def test_the_calibration_error_is_the_weighted_gap():
    # Bins 0.2 (four rows, none of class 1) and 0.6 (one row of class 1).
    error = expected_calibration_error([0.2, 0.2, 0.2, 0.2, 0.6], [0, 0, 0, 0, 1], bins=5)
    assert error == pytest.approx((4 * 0.2 + 1 * 0.4) / 5)


def test_honest_probabilities_have_a_small_error_and_exaggerated_ones_a_large_one():
    probabilities, labels = calibrated(20_000)
    exaggerated = (probabilities > 0.5).astype(float)
    assert expected_calibration_error(probabilities, labels) < 0.03
    assert expected_calibration_error(exaggerated, labels) == pytest.approx(0.25, abs=0.03)


def test_rows_with_nan_are_left_out():
    curve = reliability([0.1, NAN, 0.3], [0, 1, NAN])
    assert curve.count.tolist() == [1]


def test_no_rows_give_an_empty_curve_and_no_error():
    curve = reliability([NAN], [NAN])
    assert [len(x) for x in (curve.predicted, curve.observed, curve.low, curve.high)] == [0] * 4
    assert np.isnan(expected_calibration_error([], []))


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [([1.2], [1], "sigmoid"), ([-0.1], [1], "sigmoid"), ([0.5], [0.5], "neither 0 nor 1")],
)
def test_what_is_no_probability_or_class_is_refused(probabilities, labels, message):
    with pytest.raises(ValueError, match=message):
        reliability(probabilities, labels)
