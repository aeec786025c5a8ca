import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from chemprop_hpo.hpo.chemistry.features.scaling import Scaling
from chemprop_hpo.hpo.chemistry.training.metrics import Yardstick, score
from chemprop_hpo.hpo.evaluation.figures import (
    classification_figures,
    mean_of_defined,
    regression_figures,
)
from chemprop_hpo.hpo.evaluation.labelled import labelled

NAN = np.nan
REGRESSION = ("rmse", "mae", "r2", "pearson", "spearman", "kendall", "rae")
CLASSIFICATION = ("roc_auc", "prc_auc", "brier", "log_loss")


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def undefined(figures):
    return {name for name, x in figures.items() if np.isnan(x)}


def rounded_pairs(n=200, seed=0):
    random = np.random.default_rng(seed)
    labels = random.normal(size=n).round(1)  # with ties
    return (labels + random.normal(size=n)).round(1), labels


def test_regression_figures_are_those_of_scipy_and_scikit_learn():
    predictions, labels = rounded_pairs()
    figures = regression_figures(predictions, labels)
    assert tuple(figures) == REGRESSION
    mean = np.full(len(labels), labels.mean())
    absolute = metrics.mean_absolute_error
    assert figures == pytest.approx(
        {
            "rmse": metrics.root_mean_squared_error(labels, predictions),
            "mae": absolute(labels, predictions),
            "r2": metrics.r2_score(labels, predictions),
            "pearson": stats.pearsonr(labels, predictions).statistic,
            "spearman": stats.spearmanr(labels, predictions).statistic,
            "kendall": stats.kendalltau(labels, predictions).statistic,
            "rae": absolute(labels, predictions) / absolute(labels, mean),
        }
    )


def test_perfect_predictions_have_perfect_figures():
    labels = np.array([1.0, 3.0, 2.0])
    expected = dict.fromkeys(REGRESSION, 1.0) | {"rmse": 0.0, "mae": 0.0, "rae": 0.0}
    assert regression_figures(labels, labels) == pytest.approx(expected)


def test_the_mean_label_as_a_prediction_explains_nothing():
    labels = np.array([1.0, 3.0, 2.0, 6.0])
    figures = regression_figures(np.full(4, 3.0), labels)
    assert figures["rae"] == pytest.approx(1.0)
    assert figures["r2"] == pytest.approx(0.0)


def test_equal_labels_leave_rmse_and_mae_alone_defined():
    # The mean of three times 0.1 is not 0.1, so a sum of squares would not be zero.
    figures = regression_figures([0.2, 0.3, 0.4], [0.1, 0.1, 0.1])
    assert undefined(figures) == {"r2", "pearson", "spearman", "kendall", "rae"}
    assert figures["mae"] == pytest.approx(0.2)


def test_equal_predictions_leave_correlations_undefined():
    figures = regression_figures([0.1, 0.1, 0.1], [1.0, 2.0, 3.0])
    assert undefined(figures) == {"pearson", "spearman", "kendall"}


@pytest.mark.parametrize("nothing", [[], [NAN, NAN]])
def test_no_rows_define_no_figure(nothing):
    assert undefined(regression_figures(nothing, nothing)) == set(REGRESSION)
    assert undefined(classification_figures(nothing, nothing)) == set(CLASSIFICATION)


def test_one_row_has_an_error_and_nothing_else():
    figures = regression_figures([1.0], [3.0])
    assert (figures["rmse"], figures["mae"]) == (2.0, 2.0)
    assert len(undefined(figures)) == 5


def test_two_rows_have_all_figures():
    figures = regression_figures([1.0, 2.0], [3.0, 1.0])
    assert undefined(figures) == set()
    correlations = [figures[name] for name in ("pearson", "spearman", "kendall")]
    assert correlations == pytest.approx([-1.0, -1.0, -1.0])


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.tuples(*[st.integers(-50, 50)] * 2), min_size=1, max_size=30))
def test_correlations_and_errors_stay_in_their_ranges(pairs):
    figures = regression_figures(*np.array(pairs, dtype=float).T / 7)
    for name in ("pearson", "spearman", "kendall"):
        assert np.isnan(figures[name]) or -1 <= figures[name] <= 1
    assert 0 <= figures["mae"] <= figures["rmse"] + 1e-9
    assert np.isnan(figures["r2"]) or figures["r2"] <= 1


def test_differences_too_small_to_square_still_correlate():
    labels = np.array([1.0, 2.0, 3.0]) * 1e-200
    assert regression_figures(labels, labels)["pearson"] == pytest.approx(1.0)


def test_classification_figures_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    labels = (random.random(300) < 0.2).astype(float)
    probabilities = np.clip(0.3 * labels + 0.7 * random.random(300), 0, 1).round(2)
    precision, recall, _ = metrics.precision_recall_curve(labels, probabilities)
    figures = classification_figures(probabilities, labels)
    assert tuple(figures) == CLASSIFICATION
    assert figures == pytest.approx(
        {
            "roc_auc": metrics.roc_auc_score(labels, probabilities),
            "prc_auc": metrics.auc(recall, precision),
            "brier": metrics.brier_score_loss(labels, probabilities),
            "log_loss": metrics.log_loss(labels, probabilities),
        }
    )


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1)), min_size=1, max_size=30))
def test_areas_with_ties_are_those_of_scikit_learn(pairs):
    fifths, labels = np.array(pairs, dtype=float).T
    figures = classification_figures(fifths / 5, labels)
    if len(np.unique(labels)) < 2:
        assert undefined(figures) == {"roc_auc", "prc_auc"}
        return
    precision, recall, _ = metrics.precision_recall_curve(labels, fifths / 5)
    assert figures["roc_auc"] == pytest.approx(metrics.roc_auc_score(labels, fifths / 5))
    assert figures["prc_auc"] == pytest.approx(metrics.auc(recall, precision))


def test_a_wrong_certainty_costs_much_but_not_infinity():
    figures = classification_figures([1.0, 0.0], [0, 1])
    assert 30 < figures["log_loss"] < 40


def test_figures_agree_with_what_training_reports():
    predictions, labels = rounded_pairs()
    yardstick = Yardstick("regression", "MSE", ("a",), ("none",), (1.0,), Scaling.identity(1))
    reported = score(yardstick, predictions[:, None], labels[:, None])
    figures = regression_figures(predictions, labels)
    for name in ("rmse", "mae", "r2"):
        assert figures[name] == pytest.approx(reported[f"val_{name}"])


def test_the_mean_is_over_targets_that_have_the_figure():
    assert mean_of_defined([0.5, NAN, 0.7]) == pytest.approx(0.6)
    assert np.isnan(mean_of_defined([NAN]))
    assert np.isnan(mean_of_defined([]))


def test_rows_without_label_or_prediction_are_left_out():
    predictions, labels = labelled([1.0, NAN, 3.0, 4.0], [1.0, 2.0, NAN, 5.0])
    assert predictions.tolist() == [1.0, 4.0]
    assert labels.tolist() == [1.0, 5.0]
    assert regression_figures([1.0, NAN, 4.0], [2.0, 7.0, 6.0])["mae"] == 1.5


@pytest.mark.parametrize(
    ("predictions", "labels", "message"),
    [
        ([1.0, 2.0], [1.0], "2 predictions cannot pair with 1 labels"),
        ([[1.0]], [[1.0]], "shape"),
        ([np.inf], [1.0], "predictions are not finite"),
        ([1.0], [-np.inf], "labels are not finite"),
    ],
)
def test_what_cannot_pair_is_refused(predictions, labels, message):
    with pytest.raises(ValueError, match=message):
        regression_figures(predictions, labels)


def test_logits_are_refused_as_probabilities():
    with pytest.raises(ValueError, match="sigmoid"):
        classification_figures([2.0, -1.0], [1, 0])
