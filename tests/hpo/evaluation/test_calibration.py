import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from chemprop_hpo.configs.errors import DataError
from chemprop_hpo.hpo.evaluation.calibration import LEVELS, Calibration, coverage

NAN = np.nan


def spread_and_residuals(n, factor, floor, seed=0):
    random = np.random.default_rng(seed)
    std = random.gamma(2.0, 0.2, size=n)
    return std, random.normal(size=n) * np.hypot(factor * std, floor)


def negative_log_likelihood(factor, floor, std, residuals):
    variance = np.square(factor * std) + floor**2
    return (np.log(variance) + np.square(residuals) / variance).mean()


@pytest.mark.parametrize(("factor", "floor"), [(2.0, 0.3), (0.5, 0.1), (1.0, 1.0)])
def test_the_factor_and_the_floor_that_made_the_residuals_are_found(factor, floor):
    calibration = Calibration.fit(*spread_and_residuals(20_000, factor, floor))
    assert calibration.factor == pytest.approx(factor, rel=0.1)
    assert calibration.floor == pytest.approx(floor, rel=0.1)


def test_no_other_factor_and_floor_are_likelier():
    std, residuals = spread_and_residuals(300, 1.5, 0.2)
    found = Calibration.fit(std, residuals)
    least = negative_log_likelihood(found.factor, found.floor, std, residuals)
    for factor in np.linspace(0, 4, 41):
        for floor in np.linspace(0.01, 1, 34):
            assert least <= negative_log_likelihood(factor, floor, std, residuals) + 1e-9


def test_a_spread_that_means_nothing_is_left_out_of_sigma():
    random = np.random.default_rng(1)
    calibration = Calibration.fit(random.gamma(2.0, 1.0, 5000), random.normal(size=5000))
    assert calibration.sigma([0.0, 5.0]) == pytest.approx([1.0, 1.0], rel=0.1)


def test_a_spread_that_means_all_leaves_hardly_a_floor():
    calibration = Calibration.fit(*spread_and_residuals(5000, 3.0, 0.0))
    assert calibration.factor == pytest.approx(3.0, rel=0.05)
    assert calibration.floor < 0.1


def test_without_a_known_spread_the_floor_stands_alone():
    residuals = np.random.default_rng(2).normal(scale=0.7, size=1000)
    for std in (np.full(1000, NAN), np.zeros(1000)):
        calibration = Calibration.fit(std, residuals)
        assert calibration.factor == 0.0
        assert calibration.floor == pytest.approx(np.sqrt(np.square(residuals).mean()))
        assert calibration.sigma([NAN, 0.0]) == pytest.approx([calibration.floor] * 2)


def test_a_row_of_unknown_spread_has_the_floor_for_its_sigma():
    calibration = Calibration(2.0, 0.3, {})
    assert calibration.sigma([NAN, 0.0, 0.2]) == pytest.approx([0.3, 0.3, 0.5])


@pytest.mark.parametrize(("factor", "floor"), [(2.0, 0.3), (1.0, 0.0)])
@pytest.mark.parametrize("level", LEVELS)
def test_intervals_cover_new_rows_as_often_as_they_say(factor, floor, level):
    std, residuals = spread_and_residuals(4000, factor, floor)
    calibration = Calibration.fit(std[:2000], residuals[:2000])
    half_widths = calibration.half_width(std[2000:], level)
    share, n = coverage(np.zeros(2000), residuals[2000:], half_widths)
    assert n == 2000
    assert share == pytest.approx(level / 100, abs=0.04)


def test_intervals_cover_residuals_of_heavy_tails_where_a_normal_would_not():
    residuals = np.random.default_rng(3).standard_t(2, size=8000)
    calibration = Calibration.fit(np.full(4000, NAN), residuals[:4000])
    for level in LEVELS:
        share, _ = coverage(
            np.zeros(4000), residuals[4000:], calibration.half_width(np.zeros(4000), level)
        )
        assert share == pytest.approx(level / 100, abs=0.035)
    assert calibration.quantiles[80] < 1.0  # 1.28 for a normal


def test_a_quantile_is_the_conformal_rank_of_the_scores():
    residuals = np.arange(1.0, 20.0)  # 19 rows: ranks 16, 18 and 19
    calibration = Calibration.fit(np.zeros(19), -residuals)
    assert [calibration.half_width(0.0, level) for level in LEVELS] == pytest.approx([16, 18, 19])


@pytest.mark.parametrize(("level", "n"), [(80, 4), (90, 9), (95, 19)])
def test_a_level_is_missing_exactly_where_rows_are_too_few_for_it(level, n):
    random = np.random.default_rng(4)
    enough = Calibration.fit(random.random(n), random.normal(size=n))
    fewer = Calibration.fit(random.random(n - 1), random.normal(size=n - 1))
    assert level not in enough.missing_levels
    assert np.isfinite(enough.half_width([0.1, NAN], level)).all()
    assert level in fewer.missing_levels
    assert np.isnan(fewer.half_width([0.1, NAN], level)).all()


def test_rows_without_a_residual_are_left_out():
    std, residuals = spread_and_residuals(100, 1.0, 0.2)
    gaps = np.insert(residuals, [0, 50, 100], NAN)
    assert Calibration.fit(np.insert(std, [0, 50, 100], 9.0), gaps) == Calibration.fit(
        std, residuals
    )


@pytest.mark.parametrize("residuals", [[], [NAN, NAN]])
def test_without_residuals_nothing_is_claimed(residuals):
    calibration = Calibration.fit(np.ones(len(residuals)), residuals)
    assert calibration.missing_levels == LEVELS
    assert np.isnan(calibration.sigma([0.5, NAN])).all()
    assert np.isnan(calibration.half_width([0.5], 90)).all()


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_residuals_give_a_floor_and_no_interval(n):
    calibration = Calibration.fit(np.ones(n), np.full(n, -0.5))
    assert calibration == Calibration(0.0, 0.5, {})


def test_residuals_that_are_all_zero_give_intervals_of_no_width():
    calibration = Calibration.fit(np.random.default_rng(5).random(30), np.zeros(30))
    assert calibration.missing_levels == ()
    assert calibration.half_width([0.0, NAN], 95).tolist() == [0.0, 0.0]
    assert coverage(np.zeros(30), np.zeros(30), np.zeros(30)) == (1.0, 30)


def test_one_molecule_of_wild_spread_does_not_hide_what_the_others_say():
    std, residuals = spread_and_residuals(2000, 2.0, 0.0)
    std[0] = 1e6
    assert Calibration.fit(std, residuals).factor == pytest.approx(2.0, rel=0.1)


def test_calibration_is_that_of_the_units():
    std, residuals = spread_and_residuals(500, 2.0, 0.3)
    one, thousand = Calibration.fit(std, residuals), Calibration.fit(std * 1e3, residuals * 1e3)
    assert thousand.factor == pytest.approx(one.factor, rel=1e-3)
    assert thousand.floor == pytest.approx(one.floor * 1e3, rel=1e-3)


@pytest.mark.parametrize(
    ("std", "residuals", "message"),
    [
        ([0.1, -0.1], [1.0, 1.0], "negative"),
        ([0.1], [1.0, 1.0], "cannot pair"),
        ([0.1, 0.1], [1.0, np.inf], "not finite"),
    ],
)
def test_what_is_no_spread_or_residual_is_refused(std, residuals, message):
    with pytest.raises(ValueError, match=message):
        Calibration.fit(std, residuals)


@pytest.mark.parametrize("n", [0, 1, 5, 30])
def test_a_calibration_survives_json(n):
    calibration = Calibration.fit(*spread_and_residuals(n, 1.0, 0.2))
    text = json.dumps(calibration.to_json(), allow_nan=False)
    read = Calibration.from_json(json.loads(text))
    assert read.quantiles == calibration.quantiles
    np.testing.assert_equal([read.factor, read.floor], [calibration.factor, calibration.floor])


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"factor": 1.0, "floor": 0.1},
        {"factor": "much", "floor": 0.1, "quantiles": {}},
        {"factor": 1.0, "floor": 0.1, "quantiles": [1.3]},
        {"factor": 1.0, "floor": 0.1, "quantiles": {"most": 1.3}},
    ],
)
def test_json_that_is_no_calibration_is_refused_with_its_text(values):
    with pytest.raises(DataError, match="cannot be read") as caught:
        Calibration.from_json(values)
    assert repr(values) in str(caught.value)


finite = st.floats(-1e6, 1e6)


@settings(max_examples=60, deadline=None, derandomize=True)
@example((np.full(10, 2.2e-308), np.full(10, 5.0)))
@example((np.array([1e-300, 1e-99, 1.0, 1e6] * 5), np.arange(20.0)))
@example((np.array([1e6] + [1e-99] * 19), np.full(20, 1e-308)))
@given(st.integers(1, 40).flatmap(lambda n: st.tuples(*[arrays(float, n, elements=finite)] * 2)))
def test_intervals_cover_at_least_their_share_of_the_rows_they_were_made_on(pair):
    std, residuals = np.abs(pair[0]), pair[1]
    calibration = Calibration.fit(std, residuals)
    assert np.isfinite(calibration.sigma(std)).all()
    widths = [calibration.half_width(std, level) for level in LEVELS]
    for level, half_widths in zip(LEVELS, widths, strict=True):
        if level in calibration.quantiles:
            share, _ = coverage(np.zeros(len(std)), residuals, half_widths)
            assert share >= level / 100
    assert not (widths[0] > widths[1]).any()
    assert not (widths[1] > widths[2]).any()


def test_coverage_counts_the_ends_and_leaves_out_rows_with_nan():
    predictions, labels = [1.0, 2.0, NAN, 4.0, 5.0], [1.5, 3.0, 1.0, NAN, 5.0]
    assert coverage(predictions, labels, [0.5, 0.5, 9.0, 9.0, NAN]) == (0.5, 2)


def test_coverage_of_no_rows_is_not_defined():
    share, n = coverage([], [], [])
    assert np.isnan(share)
    assert n == 0
