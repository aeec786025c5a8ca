"""Figures of predictions, against numbers that are worked out by hand here."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, r2_score, roc_auc_score

from chemprop_hpo.hpo.ensembles.combining import judging
from chemprop_hpo.hpo.ensembles.combining.judging import Judge, Predictions
from chemprop_hpo.hpo.evaluation.calibration import Calibration

NAN = np.nan
RNG = np.random.default_rng(2)
LABELS = RNG.normal(1.0, 0.5, size=(80, 2))
MEAN = LABELS + RNG.normal(0, 0.3, size=LABELS.shape)
STD = RNG.uniform(0.1, 0.5, size=LABELS.shape)
SAID = Predictions(MEAN, STD)
REGRESSION = Judge(False, ("none", "log10p1"), seed=0)
CLASSIFICATION = Judge(True, ("none", "none"), seed=0)


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "MOST_RESAMPLES", 200)


def by_hand(predictions: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    errors = predictions - labels
    return {
        "rmse": np.sqrt((errors**2).mean()),
        "mae": np.abs(errors).mean(),
        "r2": r2_score(labels, predictions),
        "pearson": stats.pearsonr(labels, predictions)[0],
        "spearman": stats.spearmanr(labels, predictions)[0],
        "kendall": stats.kendalltau(labels, predictions)[0],
        "rae": np.abs(errors).sum() / np.abs(labels - labels.mean()).sum(),
    }


def test_without_a_transform_there_is_one_set_of_figures() -> None:
    judged = REGRESSION.target(0, SAID, LABELS, None)
    assert judged is not None
    assert judged.transformed_figures is None
    found = {name: interval.value for name, interval in judged.figures.items()}
    assert found == pytest.approx(by_hand(MEAN[:, 0], LABELS[:, 0]))
    assert all(
        interval.low < interval.value < interval.high for interval in judged.figures.values()
    )


def test_a_transform_gives_figures_in_both_units() -> None:
    judged = REGRESSION.target(1, SAID, LABELS, None)
    assert judged is not None
    assert judged.transformed_figures is not None
    transformed = {name: i.value for name, i in judged.transformed_figures.items()}
    original = {name: i.value for name, i in judged.figures.items()}
    assert transformed == pytest.approx(by_hand(MEAN[:, 1], LABELS[:, 1]))
    assert original == pytest.approx(by_hand(10 ** MEAN[:, 1] - 1, 10 ** LABELS[:, 1] - 1))
    assert original["rmse"] > 5 * transformed["rmse"]
    assert original["spearman"] == transformed["spearman"]


def test_rows_of_one_molecule_are_drawn_together() -> None:
    labels, mean = LABELS.copy(), MEAN.copy()
    labels[5, 1] = NAN
    names = [f"C{i}" for i in range(len(labels))]
    four = Predictions(np.repeat(mean, 4, axis=0), np.repeat(STD, 4, axis=0))
    once = REGRESSION.target(1, Predictions(mean, STD), labels, None, molecules=names)
    found = REGRESSION.target(
        1, four, np.repeat(labels, 4, axis=0), None, molecules=list(np.repeat(names, 4))
    )
    assert once is not None
    assert found is not None
    assert found.molecules is not None
    assert found.molecules.tolist() == np.repeat(np.arange(79), 4).tolist()
    assert astuple(found.figures["rmse"]) == pytest.approx(astuple(once.figures["rmse"]))
    assert found.transformed_figures is not None
    assert once.transformed_figures is not None
    assert astuple(found.transformed_figures["mae"]) == pytest.approx(
        astuple(once.transformed_figures["mae"])
    )


def test_the_mean_over_targets_is_drawn_by_molecules() -> None:
    names = [f"C{i}" for i in range(len(LABELS))]
    four = Predictions(np.repeat(MEAN, 4, axis=0), np.repeat(STD, 4, axis=0))
    once = REGRESSION.macro(SAID, LABELS, names)
    found = REGRESSION.macro(four, np.repeat(LABELS, 4, axis=0), list(np.repeat(names, 4)))
    assert once is not None
    assert found is not None
    assert astuple(found) == pytest.approx(astuple(once))


def test_rows_without_a_label_or_a_prediction_are_left_out_of_everything() -> None:
    labels, mean = LABELS.copy(), MEAN.copy()
    labels[:3, 0], mean[-2:, 0] = NAN, NAN
    similarity = np.linspace(0, 1, len(labels))
    calibration = Calibration.fit(STD[:, 0], LABELS[:, 0] - MEAN[:, 0])
    judged = REGRESSION.target(0, Predictions(mean, STD), labels, calibration, similarity)
    assert judged is not None
    assert judged.n == len(judged.std) == 75
    assert judged.labels.tolist() == LABELS[3:-2, 0].tolist()
    assert judged.similarity is not None
    assert judged.similarity.tolist() == similarity[3:-2].tolist()
    assert judged.figures["rmse"].value == pytest.approx(
        by_hand(MEAN[3:-2, 0], LABELS[3:-2, 0])["rmse"]
    )
    assert {len(width) for width in judged.half_widths.values()} == {75}
    assert {one.n for one in judged.coverage.values()} == {75}


def test_nothing_to_judge_is_none() -> None:
    assert REGRESSION.target(0, Predictions(MEAN * NAN, STD), LABELS, None) is None
    assert REGRESSION.target(0, SAID, LABELS * NAN, None) is None


def test_intervals_cover_the_rows_they_were_calibrated_on_as_promised() -> None:
    calibration = Calibration.fit(STD[:, 1], LABELS[:, 1] - MEAN[:, 1])
    judged = REGRESSION.target(1, SAID, LABELS, calibration)
    assert judged is not None
    errors = np.abs(LABELS[:, 1] - MEAN[:, 1])
    for level in (80, 90, 95):
        width = calibration.half_width(STD[:, 1], level)
        assert judged.half_widths[level].tolist() == width.tolist()
        assert judged.coverage[level].share == pytest.approx((errors <= width * (1 + 1e-9)).mean())
        assert judged.coverage[level].share >= level / 100


def test_the_macro_average_is_the_mean_rae_in_transformed_units() -> None:
    labels = LABELS.copy()
    labels[:30, 1] = NAN
    macro = REGRESSION.macro(SAID, labels)
    assert macro is not None
    each = [by_hand(MEAN[:, 0], LABELS[:, 0]), by_hand(MEAN[30:, 1], LABELS[30:, 1])]
    assert macro.value == pytest.approx(np.mean([one["rae"] for one in each]))
    assert macro.low < macro.value < macro.high


def test_one_target_and_one_that_says_nothing_have_no_macro_average() -> None:
    assert (
        Judge(False, ("none",), 0).macro(Predictions(MEAN[:, :1], STD[:, :1]), LABELS[:, :1])
        is None
    )
    assert REGRESSION.macro(Predictions(MEAN * NAN, STD), LABELS) is None


def test_each_fold_is_judged_by_itself() -> None:
    labels = LABELS.copy()
    labels[0, 0] = NAN
    folds = {0: np.arange(80) // 40, 2: np.where(np.arange(80) < 20, 5, -1)}
    figures = REGRESSION.by_fold(0, SAID, labels, folds)
    assert [(one.split, one.fold, one.n) for one in figures] == [(0, 0, 39), (0, 1, 40), (2, 5, 19)]
    assert figures[1].figures == pytest.approx(by_hand(MEAN[40:, 0], LABELS[40:, 0]))
    assert figures[2].figures == pytest.approx(by_hand(MEAN[1:20, 0], LABELS[1:20, 0]))


def test_a_fold_is_judged_in_transformed_units() -> None:
    (figures,) = REGRESSION.by_fold(1, SAID, LABELS, {0: np.zeros(80, dtype=np.int64)})
    assert figures.figures == pytest.approx(by_hand(MEAN[:, 1], LABELS[:, 1]))


def test_a_fold_without_labels_has_no_figures() -> None:
    (figures,) = REGRESSION.by_fold(0, SAID, LABELS * NAN, {0: np.zeros(80, dtype=np.int64)})
    assert figures.n == 0
    assert all(np.isnan(value) for value in figures.figures.values())


def test_a_fold_of_which_nothing_is_said_is_left_out() -> None:
    mean = MEAN.copy()
    mean[:40] = NAN
    folds = {0: np.arange(80) // 40}
    (figures,) = REGRESSION.by_fold(0, Predictions(mean, STD), LABELS, folds)
    assert (figures.fold, figures.n) == (1, 40)


def test_a_classification_is_judged_by_its_curves() -> None:
    labels = (LABELS > 1.0).astype(float)
    labels[:10, 1] = NAN
    said = Predictions(1 / (1 + np.exp(-4 * (MEAN - 1))), STD)
    judged = CLASSIFICATION.target(1, said, labels, None)
    assert judged is not None
    assert set(judged.figures) == {"roc_auc", "prc_auc", "brier", "log_loss"}
    there, probability = labels[10:, 1], said.mean[10:, 1]
    assert judged.figures["roc_auc"].value == pytest.approx(roc_auc_score(there, probability))
    assert judged.figures["prc_auc"].value == pytest.approx(
        average_precision_score(there, probability), abs=0.01
    )
    assert judged.figures["roc_auc"].low < judged.figures["roc_auc"].high
    assert (judged.half_widths, judged.coverage) == ({}, {})
    macro = CLASSIFICATION.macro(said, labels)
    assert macro is not None
    both = [roc_auc_score(labels[:, 0], said.mean[:, 0]), roc_auc_score(there, probability)]
    assert macro.value == pytest.approx(np.mean(both))


def test_many_rows_need_fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "MOST_RESAMPLES", 1000)
    draws = [judging._resamples(n) for n in (0, 1_000, 2_000, 10**6)]
    assert draws == [1000, 1000, 500, 200]


def test_equal_seeds_give_equal_intervals() -> None:
    one, other = (REGRESSION.target(0, SAID, LABELS, None) for _ in range(2))
    another = Judge(False, ("none", "log10p1"), seed=1).target(0, SAID, LABELS, None)
    assert one is not None
    assert other is not None
    assert another is not None
    assert one.figures == other.figures
    assert one.figures != another.figures
