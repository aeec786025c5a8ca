import numpy as np
import pytest
import torch
from chemprop.nn import MAE, MSE, RMSE, BCELoss
from chemprop.nn.metrics import BinaryAUPRC, BinaryAUROC

from chemprop_hpo.hpo.chemistry.features.scaling import Scaling
from chemprop_hpo.hpo.chemistry.training.metrics import (
    Yardstick,
    generalisation_gap,
    metric_names,
    score,
    to_original_units,
)

NAN = np.nan


def yardstick(*transforms, task="regression", criterion="MSE", weights=None, scales=None):
    n = len(transforms)
    return Yardstick(
        task,
        criterion,
        tuple("abc"[:n]),
        transforms,
        weights or (1.0,) * n,
        Scaling(np.zeros(n), np.array(scales or [1.0] * n)),
    )


def column(*values):
    return np.array(values, dtype=float)[:, None]


def test_one_target_has_its_figures_with_and_without_its_name():
    figures = score(yardstick("none", scales=[2.0]), column(1, 2, 5), column(1, 4, 4))
    for suffix in ("", "/a"):
        assert figures[f"val_rmse{suffix}"] == pytest.approx(np.sqrt(5 / 3))
        assert figures[f"val_mae{suffix}"] == pytest.approx(1.0)
        assert figures[f"val_r2{suffix}"] == pytest.approx(1 - 5 / 6)
    assert figures["val_loss"] == pytest.approx(5 / 3 / 4)
    assert "val_nrmse" not in figures


def test_a_transformed_target_is_scored_in_original_units_and_in_transformed_ones():
    figures = score(yardstick("log10p1"), column(1, 2), column(1, 3))
    assert figures["val_rmse/a"] == pytest.approx(900 / np.sqrt(2))  # 99 against 999
    assert figures["val_mae"] == pytest.approx(450)
    assert figures["val_transformed_rmse/a"] == pytest.approx(1 / np.sqrt(2))
    assert figures["val_transformed_r2/a"] == pytest.approx(1 - 1 / 2)


def test_several_targets_are_averaged_in_transformed_units():
    outputs = np.array([[1.0, 10.0], [2.0, 20.0], [4.0, 30.0]])
    targets = np.array([[1.0, 10.0], [2.0, 40.0], [3.0, 60.0]])
    figures = score(yardstick("log10", "none", scales=[0.5, 20.0]), outputs, targets)
    rmses = np.sqrt(1 / 3) / 0.5, np.sqrt(1300 / 3) / 20
    assert figures["val_nrmse"] == pytest.approx(np.mean(rmses))
    r2_a, r2_b = 1 - 1 / 2, 1 - 1300 / np.square([10 - 110 / 3, 40 - 110 / 3, 60 - 110 / 3]).sum()
    assert figures["val_r2"] == pytest.approx((r2_a + r2_b) / 2)
    assert figures["val_r2/b"] == pytest.approx(r2_b)
    assert figures["val_r2/a"] != pytest.approx(r2_a)
    assert "val_rmse" not in figures


@pytest.mark.parametrize("transform", ["log10", "log10p1"])
def test_a_wild_prediction_gives_finite_metrics(transform):
    figures = score(yardstick(transform), column(3e38, -3e38), column(1, 2))
    assert np.isfinite(list(figures.values())).all()


@pytest.mark.parametrize(
    ("transform", "original"), [("none", 2.0), ("log10", 100.0), ("log10p1", 99.0)]
)
def test_transforms_are_undone(transform, original):
    assert to_original_units(np.array([2.0]), transform) == pytest.approx(original)


@pytest.mark.parametrize(
    ("task", "name", "criterion"),
    [
        ("regression", "MSE", MSE),
        ("regression", "MAE", MAE),
        ("regression", "RMSE", RMSE),
        ("classification", "RMSE", BCELoss),
    ],
)
def test_the_loss_is_chemprops_weighted_and_masked_criterion(task, name, criterion):
    rng = np.random.default_rng(0)
    outputs, targets = rng.normal(size=(20, 2)), rng.integers(0, 2, size=(20, 2)).astype(float)
    targets[3, 0] = targets[5:9, 1] = NAN
    scales = np.array([1.0, 1.0] if task == "classification" else [2.0, 0.5])
    ours = yardstick(
        "none", "none", task=task, criterion=name, weights=(0.5, 1.5), scales=list(scales)
    )
    theirs = criterion(task_weights=[0.5, 1.5])(
        torch.tensor(outputs / scales),
        torch.tensor(targets / scales).nan_to_num(),
        torch.tensor(np.isfinite(targets)),
    )
    assert score(ours, outputs, targets)["val_loss"] == pytest.approx(float(theirs), rel=1e-6)


def test_missing_labels_are_left_out_and_a_target_without_labels_is_absent():
    targets = np.array([[1.0, NAN], [NAN, NAN], [3.0, NAN]])
    figures = score(yardstick("none", "none"), np.array([[1.0, 9], [50, 9], [4, 9]]), targets)
    assert figures["val_rmse/a"] == pytest.approx(np.sqrt(0.5))
    assert figures["val_nrmse"] == pytest.approx(np.sqrt(0.5))
    assert not [name for name in figures if name.endswith("/b")]


def test_r2_is_absent_where_all_labels_are_the_same():
    figures = score(yardstick("none"), column(1, 2), column(3, 3))
    assert "val_r2" not in figures
    assert "val_rmse" in figures


def test_classification_areas_are_those_of_chemprop():
    rng = np.random.default_rng(1)
    logits, targets = rng.normal(size=(50, 1)), rng.integers(0, 2, size=(50, 1))
    figures = score(yardstick("none", task="classification"), logits, targets)
    pair = torch.tensor(logits).sigmoid(), torch.tensor(targets)
    for name, metric in (("roc", BinaryAUROC()), ("prc", BinaryAUPRC())):
        metric.update(*pair, mask=torch.ones(50, 1, dtype=torch.bool))
        assert figures[f"val_{name}_auc/a"] == pytest.approx(float(metric.compute()), abs=1e-6)


def test_an_area_of_one_class_is_absent_and_not_in_the_mean():
    logits = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 3.0]])
    targets = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, NAN]])
    figures = score(yardstick("none", "none", task="classification"), logits, targets)
    assert "val_roc_auc/a" not in figures
    assert figures["val_roc_auc"] == figures["val_roc_auc/b"] == 0.0
    alone = score(yardstick("none", task="classification"), logits[:, :1], targets[:, :1])
    assert set(alone) == {"val_loss"}


def test_a_large_logit_has_a_finite_loss():
    figures = score(yardstick("none", task="classification"), column(1e4, -1e4), column(0, 1))
    assert figures["val_loss"] == pytest.approx(1e4)


def test_outputs_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        score(yardstick("none"), column(1, NAN), column(1, 2))


def test_names_are_those_that_a_training_reports():
    assert set(metric_names("regression", ["a"], ["none"])) == {
        "train_loss", "val_loss", "val_rmse", "val_mae", "val_r2",
        "val_rmse/a", "val_mae/a", "val_r2/a",
    }  # fmt: skip
    several = metric_names("regression", ["a", "b"], ["log10", "none"])
    assert {"val_nrmse", "val_r2", "val_transformed_mae/a"} < set(several)
    assert not {"val_rmse", "val_transformed_mae/b"} & set(several)
    assert "val_roc_auc" in metric_names("classification", ["a", "b"], ["none", "none"])


@pytest.mark.parametrize(
    ("ours", "name"),
    [
        (yardstick("none"), "rmse"),
        (yardstick("none", "none"), "nrmse"),
        (yardstick("none", task="classification"), "loss"),
    ],
)
def test_the_gap_is_validation_minus_training(ours, name):
    gap = generalisation_gap(ours, {f"val_{name}": 3.0}, {f"train_{name}": 1.0})
    assert gap == {"generalisation_gap": 2.0}
    assert generalisation_gap(ours, {"val_other": 3.0}, {f"train_{name}": 1.0}) == {}
