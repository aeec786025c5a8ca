import time
from dataclasses import astuple

import numpy as np
import pytest
from scipy.stats import norm

from chemprop_hpo.hpo.evaluation.bootstrap import (
    Interval,
    bootstrapped,
    macro_interval,
    paired_gain,
)
from chemprop_hpo.hpo.evaluation.figures import regression_figures, roc_auc
from chemprop_hpo.hpo.evaluation.paired import paired_probability
from chemprop_hpo.hpo.evaluation.redrawn import redrawn_interval

NAN = np.nan


def two_models(n=200, ours=0.5, theirs=0.6, shared=0.5, seed=0):
    """Return predictions of two models, whose errors have a part in common, and labels."""
    random = np.random.default_rng(seed)
    labels, common = random.normal(size=(2, n))
    sides = (labels + shared * common + noise * random.normal(size=n) for noise in (ours, theirs))
    return (*sides, labels)


def two_classifiers(n=300, seed=0):
    random = np.random.default_rng(seed)
    classes = (random.random(n) < 0.3).astype(float)
    sides = (np.round(0.4 * classes + random.random(n) * s, 1) for s in (0.5, 0.6))
    return (*sides, classes)


# ------------------------------------------------------------------ what it says


def test_a_much_better_candidate_is_better_for_sure_and_a_much_worse_one_is_not():
    good, bad, labels = two_models(ours=0.1, theirs=2.0)
    assert paired_probability(good, bad, labels).probability == 1.0
    assert paired_probability(bad, good, labels).probability == 0.0


def test_both_sides_of_a_comparison_share_the_draws():
    ours, theirs, labels = two_models()
    forth, back = (
        paired_probability(ours, theirs, labels),
        paired_probability(theirs, ours, labels),
    )
    assert 0.5 < forth.probability < 1.0
    assert forth.probability + back.probability == pytest.approx(1.0)
    assert forth.gain.value == pytest.approx(-back.gain.value)
    assert (forth.gain.low, forth.gain.high) == pytest.approx((-back.gain.high, -back.gain.low))


def test_the_gain_and_its_interval_are_those_of_the_slow_paired_bootstrap():
    ours, theirs, labels = two_models()
    found = paired_probability(ours, theirs, labels, resamples=4000).gain
    expected = paired_gain(theirs, ours, labels, resamples=4000, seed=1)
    assert found.value == pytest.approx(expected.value)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_the_probability_is_that_of_the_normal_approximation():
    # The mean of paired differences of absolute errors is nearly normal.
    ours, theirs, labels = two_models(n=400, ours=0.5, theirs=0.54, seed=1)
    gains = np.abs(theirs - labels) - np.abs(ours - labels)
    expected = norm.cdf(gains.mean() / (gains.std() / np.sqrt(len(gains))))
    found = paired_probability(ours, theirs, labels, "mae", resamples=4000)
    assert 0.6 < expected < 0.99
    assert found.probability == pytest.approx(expected, abs=0.03)


def test_what_two_models_have_in_common_does_not_blur_their_difference():
    ours, theirs, labels = two_models(n=300, ours=0.2, theirs=0.35, shared=2.0)
    paired = paired_probability(ours, theirs, labels).gain
    alone = [redrawn_interval(side, labels) for side in (ours, theirs)]
    assert paired.high - paired.low < 0.3 * min(x.high - x.low for x in alone)


def test_of_equal_models_neither_is_better():
    ours, _, labels = two_models()
    again = paired_probability(ours, ours + 1e-15, labels)
    assert again.probability == 0.5
    assert again.gain.value == pytest.approx(0.0, abs=1e-12)


def test_two_perfect_models_are_equal():
    _, _, labels = two_models()
    assert paired_probability(labels, labels, labels).probability == 0.5


def test_the_same_seed_gives_the_same_answer_and_another_one_another():
    sides = two_models()
    assert paired_probability(*sides, seed=1) == paired_probability(*sides, seed=1)
    assert paired_probability(*sides, seed=1) != paired_probability(*sides, seed=2)


@pytest.mark.parametrize("figure", ["rmse", "mae", "roc_auc"])
def test_rows_that_stand_four_times_are_no_further_evidence(figure):
    sides = two_classifiers(n=80) if figure == "roc_auc" else two_models(n=80)
    four = [np.repeat(side, 4) for side in sides]
    molecules = np.repeat([f"C{i}" for i in range(80)], 4)
    once = paired_probability(*sides, figure)
    found = paired_probability(*four, figure, molecules=molecules)
    assert found.probability == once.probability
    assert astuple(found.gain) == pytest.approx(astuple(once.gain))
    alone = redrawn_interval(four[0], four[2], figure, molecules=molecules)
    assert astuple(alone) == pytest.approx(astuple(redrawn_interval(sides[0], sides[2], figure)))
    singly = paired_probability(*four, figure).gain
    assert singly.high - singly.low < 0.7 * (found.gain.high - found.gain.low)


# ------------------------------------------------------------------ rows that are not there


def test_a_label_counts_where_both_models_predict_it():
    ours, theirs, labels = two_models(n=100)
    spoilt = [np.append(side, extra) for side, extra in zip(
        (ours, theirs, labels), ([NAN, 0.0, 0.0], [0.0, NAN, 0.0], [50.0, 50.0, NAN]), strict=True
    )]  # fmt: skip
    found = paired_probability(*spoilt)
    assert found.rows == 100
    assert found.gain.value == pytest.approx(paired_probability(ours, theirs, labels).gain.value)


@pytest.mark.parametrize("rows", [[], [NAN, NAN]])
def test_without_rows_nothing_is_probable(rows):
    found = paired_probability(rows, rows, rows)
    assert np.isnan([found.probability, found.gain.value, found.gain.low]).all()
    assert found.rows == 0


def test_one_row_speaks_for_the_model_that_is_nearer():
    found = paired_probability([1.0], [3.0], [0.0])
    assert found.probability == 1.0
    assert found.gain == Interval(2.0, 2.0, 2.0)


# ------------------------------------------------------------------ several targets


def several(n=120, seed=0):
    random = np.random.default_rng(seed)
    labels = random.normal(size=(n, 3)) * [1.0, 100.0, 0.01]
    labels[random.random((n, 3)) < 0.4] = NAN
    spread = np.array([1.0, 100.0, 0.01])
    sides = (labels + s * spread * random.normal(size=(n, 3)) for s in (0.4, 0.5))
    return (*(np.nan_to_num(side) for side in sides), labels, spread)


def test_of_several_targets_the_mean_of_scaled_errors_is_compared():
    ours, theirs, labels, spread = several()
    found = paired_probability(ours, theirs, labels, scales=spread)
    there = ~np.isnan(labels)

    def nrmse(side):
        return np.mean([
            np.sqrt(np.square((side - labels)[there[:, t], t]).mean()) / spread[t]
            for t in range(3)
        ])  # fmt: skip

    assert found.gain.value == pytest.approx(nrmse(theirs) - nrmse(ours))
    assert found.rows == int(there.any(axis=1).sum())
    assert 0.8 < found.probability <= 1.0


def test_targets_of_one_molecule_are_drawn_together():
    # The same target three times says no more than once.
    ours, theirs, labels = two_models(n=80)
    once = paired_probability(ours, theirs, labels)
    tripled = [np.repeat(side[:, None], 3, axis=1) for side in (ours, theirs, labels)]
    thrice = paired_probability(*tripled, scales=np.ones(3))
    assert thrice.probability == once.probability
    assert thrice.gain.low == pytest.approx(once.gain.low)
    assert thrice.gain.high == pytest.approx(once.gain.high)


def test_a_target_without_labels_does_not_count():
    ours, theirs, labels = two_models(n=50)
    wide = [np.stack([side, np.full(50, x)], axis=1) for side, x in
            ((ours, 1.0), (theirs, 2.0), (labels, NAN))]  # fmt: skip
    found = paired_probability(*wide, scales=[1.0, 1.0])
    assert found == paired_probability(ours, theirs, labels)


def test_a_draw_that_loses_a_target_does_not_count():
    # Only one row has a label of the second target; draws without it are left out.
    labels = np.array([[1.0, 5.0], [2.0, NAN], [3.0, NAN]])
    found = paired_probability(labels, labels + 1.0, labels, scales=[1.0, 1.0])
    assert found.probability == 1.0
    assert found.gain == Interval(1.0, 1.0, 1.0)


# ------------------------------------------------------------------ classification


def test_an_area_and_its_interval_are_those_of_the_slow_bootstrap():
    probabilities, _, classes = two_classifiers()
    found = redrawn_interval(probabilities, classes, "roc_auc", resamples=3000)
    expected = macro_interval(
        roc_auc, probabilities[:, None], classes[:, None], resamples=3000, seed=0
    )
    assert found.value == pytest.approx(expected.value)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_a_higher_area_is_better():
    ours, theirs, classes = two_classifiers()
    found = paired_probability(ours, theirs, classes, "roc_auc")
    assert found.gain.value == pytest.approx(roc_auc(ours, classes) - roc_auc(theirs, classes))
    assert found.gain.value > 0
    assert found.probability > 0.8


def test_draws_with_one_class_do_not_count():
    found = paired_probability([0.1, 0.2, 0.9], [0.9, 0.8, 0.1], [0, 0, 1], "roc_auc")
    assert found.probability == 1.0
    one_class = paired_probability([0.1, 0.2], [0.9, 0.8], [0, 0], "roc_auc")
    assert np.isnan(one_class.probability)


# ------------------------------------------------------------------ alone


def test_an_interval_alone_is_that_of_the_slow_bootstrap_with_the_same_draws():
    ours, _, labels = two_models()
    slow = bootstrapped(regression_figures, ours, labels, resamples=500, seed=4)
    for figure in ("rmse", "mae"):
        fast = redrawn_interval(ours, labels, figure, resamples=500, seed=4)
        expected = slow[figure]
        assert (fast.value, fast.low, fast.high) == pytest.approx(
            (expected.value, expected.low, expected.high)
        )


def test_many_rows_are_drawn_a_few_draws_at_a_time():
    ours, _, labels = two_models(n=60_000)
    started = time.process_time()
    interval = redrawn_interval(ours, labels, resamples=100)
    assert interval.low < interval.value < interval.high
    assert time.process_time() - started < 5


# ------------------------------------------------------------------ refused


@pytest.mark.parametrize(
    ("sides", "options", "message"),
    [
        (([1, 2], [1, 2], [1]), {}, r"shapes \(2, 1\), \(2, 1\) and \(1, 1\) differ"),
        (([1, np.inf], [1, 2], [1, 2]), {}, "values are not finite"),
        ((np.ones((2, 2)),) * 3, {}, "2 targets need scales, or their units would be mixed"),
        ((np.ones((2, 2)),) * 3, {"scales": [1.0]}, "scales are not 2 positive numbers"),
        ((np.ones((2, 2)),) * 3, {"scales": [1.0, 0.0]}, "scales are not 2 positive numbers"),
        (([0.5], [0.5], [2.0]), {"figure": "roc_auc"}, "a label is neither 0 nor 1"),
        ((np.ones((1, 1, 1)),) * 3, {}, r"have the shape \(1, 1, 1\)"),
    ],
)
def test_what_cannot_be_compared_is_refused(sides, options, message):
    with pytest.raises(ValueError, match=message):
        paired_probability(*sides, **options)
