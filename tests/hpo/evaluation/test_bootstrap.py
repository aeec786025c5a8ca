import time
from dataclasses import astuple

import numpy as np
import pytest
from scipy import stats

from chemprop_hpo.hpo.evaluation.bootstrap import (
    Interval,
    bootstrapped,
    macro_interval,
    paired_gain,
)
from chemprop_hpo.hpo.evaluation.figures import (
    classification_figures,
    regression_figures,
    relative_absolute_error,
)

NAN = np.nan


def noisy(n, noise, seed=0):
    random = np.random.default_rng(seed)
    labels = random.normal(size=n)
    return labels + noise * random.normal(size=n), labels


def mean_error(predictions, labels):
    return {"bias": float(np.mean(predictions - labels)) if len(labels) else NAN}


def bias_of(errors, **options):
    return bootstrapped(mean_error, errors, np.zeros(len(errors)), **options)["bias"]


def nan_ends(interval):
    return np.isnan([interval.low, interval.high]).all()


def test_an_interval_is_that_of_scipys_percentile_bootstrap():
    errors = np.random.default_rng(1).exponential(size=200)
    expected = stats.bootstrap(
        (errors,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    found = bias_of(errors, resamples=4000)
    assert found.value == pytest.approx(errors.mean())
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.015)


def test_intervals_hold_the_truth_nearly_as_often_as_they_say():
    random = np.random.default_rng(3)
    held = 0
    for seed in range(150):
        interval = bias_of(random.normal(0.3, 1.0, size=60), resamples=200, level=0.9, seed=seed)
        held += interval.low <= 0.3 <= interval.high
    assert 118 <= held <= 148  # 135 expected, standard deviation 4


def test_intervals_hold_the_truth_where_molecules_were_measured_up_to_eight_times():
    # What repeats have in common is larger than what they differ by.
    random = np.random.default_rng(6)
    held = 0
    for seed in range(150):
        molecules = np.repeat(np.arange(60), random.integers(1, 9, size=60))
        errors = 0.3 + random.normal(size=60)[molecules] + 0.3 * random.normal(size=len(molecules))
        interval = bias_of(errors, molecules=molecules, resamples=200, level=0.9, seed=seed)
        held += interval.low <= 0.3 <= interval.high
    assert 118 <= held <= 148  # 80 where rows are drawn singly


def test_rows_that_stand_four_times_leave_every_interval_as_it_is():
    (first, labels), second = noisy(80, 0.5), noisy(80, 0.4, seed=1)[0]
    first[7] = NAN
    four = [np.tile(side, 4) for side in (first, second, labels)]
    molecules = np.tile([f"C{i}" for i in range(80)], 4)
    once = bootstrapped(regression_figures, first, labels, resamples=200)
    found = bootstrapped(regression_figures, four[0], four[2], molecules=molecules, resamples=200)
    for name in ("rmse", "mae", "r2", "spearman", "rae"):
        assert astuple(found[name]) == pytest.approx(astuple(once[name]))
    gain = paired_gain(*four, molecules=molecules)
    assert astuple(gain) == pytest.approx(astuple(paired_gain(first, second, labels)))
    tables = [np.stack([side, side], axis=1) for side in (four[1], four[2])]
    macro = macro_interval(relative_absolute_error, *tables, molecules=molecules)
    alone = macro_interval(relative_absolute_error, second[:, None], labels[:, None])
    assert astuple(macro) == pytest.approx(astuple(alone))


def test_every_figure_lies_inside_its_interval():
    for figures, pair in (
        (regression_figures, noisy(80, 0.5)),
        (classification_figures, (np.linspace(0, 1, 80), np.tile([0, 1, 0, 1, 1], 16))),
    ):
        intervals = bootstrapped(figures, *pair, resamples=300)
        assert set(intervals) == set(figures(*pair))
        for interval in intervals.values():
            assert interval.low < interval.value < interval.high


def test_a_higher_level_gives_a_wider_interval_and_more_rows_a_narrower_one():
    errors = np.random.default_rng(4).normal(size=400)
    narrow, wide = (bias_of(errors, level=level) for level in (0.8, 0.99))
    fewer = bias_of(errors[:50], level=0.8)
    assert wide.low < narrow.low < narrow.high < wide.high
    assert fewer.high - fewer.low > 1.5 * (narrow.high - narrow.low)


def test_the_same_seed_gives_the_same_interval_and_another_one_another():
    errors = np.random.default_rng(5).normal(size=50)
    assert bias_of(errors, seed=1) == bias_of(errors, seed=1)
    assert bias_of(errors, seed=1) != bias_of(errors, seed=2)


def test_rows_with_nan_do_not_count():
    predictions, labels = noisy(40, 0.3)
    with_gaps = np.insert(predictions, 10, NAN), np.insert(labels, 10, 99.0)
    assert bootstrapped(regression_figures, *with_gaps, resamples=50) == bootstrapped(
        regression_figures, predictions, labels, resamples=50
    )


def test_draws_that_do_not_define_a_figure_do_not_count_for_it():
    # One row of class 1 among five: a third of the draws have none of it.
    intervals = bootstrapped(classification_figures, [0.1, 0.2, 0.3, 0.4, 0.9], [0, 0, 0, 0, 1])
    assert astuple(intervals["roc_auc"]) == (1.0, 1.0, 1.0)
    assert intervals["brier"].low < intervals["brier"].high


@pytest.mark.parametrize("rows", [[], [NAN]])
def test_without_rows_a_figure_and_its_ends_are_undefined(rows):
    for interval in bootstrapped(regression_figures, rows, rows).values():
        assert np.isnan(astuple(interval)).all()


def test_one_row_has_an_error_of_no_width():
    intervals = bootstrapped(regression_figures, [1.0], [3.0])
    assert intervals["rmse"] == Interval(2.0, 2.0, 2.0)
    assert nan_ends(intervals["pearson"])


def test_constant_labels_leave_what_they_do_not_define_without_an_interval():
    intervals = bootstrapped(regression_figures, [1.0, 2.0, 3.0], [2.0, 2.0, 2.0])
    assert nan_ends(intervals["r2"])
    assert intervals["rmse"].low < intervals["rmse"].high


def test_a_thousand_resamples_of_a_thousand_rows_take_seconds_of_cpu_at_most():
    pair = noisy(1000, 0.5)
    started = time.process_time()
    bootstrapped(regression_figures, *pair)
    assert time.process_time() - started < 10  # about 1 s on a machine at rest


def test_the_macro_rae_of_one_target_is_its_rae():
    predictions, labels = noisy(70, 0.5)
    macro = macro_interval(
        relative_absolute_error, predictions[:, None], labels[:, None], resamples=100
    )
    plain = bootstrapped(regression_figures, predictions, labels, resamples=100)
    assert macro == plain["rae"]


def test_the_macro_rae_is_the_mean_of_the_raes_of_labelled_rows():
    first, second = noisy(50, 0.2, seed=1), noisy(50, 0.9, seed=2)
    predictions, labels = (np.stack(pair, axis=1) for pair in zip(first, second, strict=True))
    labels[:30, 1] = NAN
    raes = [regression_figures(predictions[:, i], labels[:, i])["rae"] for i in range(2)]
    macro = macro_interval(relative_absolute_error, predictions, labels)
    assert macro.value == pytest.approx(np.mean(raes))
    assert macro.low < macro.value < macro.high


def test_a_molecule_is_drawn_with_all_its_targets():
    # Twice the same target: drawn apart, their mean would vary less.
    predictions, labels = noisy(60, 0.5)
    once = macro_interval(relative_absolute_error, predictions[:, None], labels[:, None])
    twice = macro_interval(
        relative_absolute_error, np.stack([predictions] * 2, axis=1), np.stack([labels] * 2, axis=1)
    )
    assert astuple(twice) == pytest.approx(astuple(once))


def test_a_target_without_a_rae_does_not_count():
    predictions, labels = noisy(40, 0.5)
    columns = np.stack([predictions, predictions, predictions], axis=1)
    others = np.stack([labels, np.full(40, NAN), np.ones(40)], axis=1)
    alone = macro_interval(relative_absolute_error, predictions[:, None], labels[:, None])
    assert macro_interval(relative_absolute_error, columns, others) == alone


def test_without_a_target_that_has_a_rae_the_macro_rae_is_undefined():
    assert np.isnan(
        astuple(macro_interval(relative_absolute_error, np.ones((5, 2)), np.ones((5, 2))))
    ).all()


@pytest.mark.parametrize(
    ("predictions", "labels"),
    [(np.ones((3, 2)), np.ones((3, 1))), (np.ones(3), np.ones(3))],
)
def test_macro_rae_refuses_shapes_that_are_not_rows_and_targets(predictions, labels):
    with pytest.raises(ValueError, match=r"not one \(n, t\)"):
        macro_interval(relative_absolute_error, predictions, labels)


def test_a_better_second_prediction_gains_and_a_worse_one_loses_as_much():
    worse, labels = noisy(300, 1.0)
    better = labels + 0.5 * (worse - labels)
    gain, loss = paired_gain(worse, better, labels), paired_gain(better, worse, labels)
    rmse = regression_figures(worse, labels)["rmse"]
    assert gain.value == pytest.approx(rmse / 2)
    assert 0 < gain.low < gain.value < gain.high
    assert (loss.value, loss.low, loss.high) == pytest.approx((-gain.value, -gain.high, -gain.low))


def test_equal_predictions_gain_nothing():
    predictions, labels = noisy(30, 0.5)
    assert paired_gain(predictions, predictions, labels) == Interval(0.0, 0.0, 0.0)


def test_a_paired_gain_is_narrower_than_the_intervals_of_both():
    first, labels = noisy(200, 1.0)
    gain = paired_gain(first, first * 0.98, labels)
    rmse = bootstrapped(regression_figures, first, labels, resamples=200)["rmse"]
    assert gain.high - gain.low < 0.3 * (rmse.high - rmse.low)


def test_a_gain_of_probabilities_is_that_of_log_losses():
    labels = np.tile([0.0, 1.0], 50)
    first, second = np.full(100, 0.5), np.where(labels == 1, 0.8, 0.2)
    gain = paired_gain(first, second, labels, classification=True)
    assert gain.value == pytest.approx(np.log(0.8 / 0.5))


def test_a_gain_counts_rows_that_all_three_have():
    first, labels = noisy(30, 0.5)
    second = first / 2
    gaps = [np.append(side, [NAN, 7.0, 7.0]) for side in (first, second, labels)]
    gaps[1][-2] = gaps[2][-1] = NAN
    assert paired_gain(*gaps) == paired_gain(first, second, labels)


def test_a_gain_without_rows_is_undefined():
    assert np.isnan(astuple(paired_gain([NAN], [1.0], [1.0]))).all()


@pytest.mark.parametrize(
    ("first", "classification", "message"),
    [([np.inf, 0.0], False, "not finite"), ([1.5, 0.0], True, "sigmoid")],
)
def test_a_gain_refuses_what_is_no_prediction(first, classification, message):
    with pytest.raises(ValueError, match=message):
        paired_gain(first, [0.5, 0.5], [0, 1], classification=classification)
