"""Score predictions in the units that people read, and by one loss that all trials share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import auc, precision_recall_curve, roc_auc_score

from chemprop_hpo.configs.schema import Criterion, Transform
from chemprop_hpo.hpo.chemistry.features.fold import Fold
from chemprop_hpo.hpo.chemistry.features.scaling import Scaling, target_scaling

Float64 = NDArray[np.float64]

LARGEST_EXPONENT = 100.0
"""Powers of ten end here, so that the square of a wild prediction is still a number."""


@dataclass(frozen=True, eq=False)
class Yardstick:
    """How predictions on one fold are scored, the same for every trial of a sweep.

    Attributes
    ----------
    task : str
        ``regression`` or ``classification``.
    criterion : Criterion
        The base configuration's criterion, also where trials train on another one.
    target_cols : tuple of str
    transforms : tuple of Transform
    weights : tuple of float
        Weight of each target in the loss; their mean is one.
    scaling : Scaling
        Of the training labels, in transformed units.
    """

    task: str
    criterion: Criterion
    target_cols: tuple[str, ...]
    transforms: tuple[Transform, ...]
    weights: tuple[float, ...]
    scaling: Scaling

    @classmethod
    def of(cls, fold: Fold, criterion: Criterion) -> Yardstick:
        """Take everything but the criterion from a fold."""
        columns = fold.target_cols, fold.transforms, fold.weights
        return cls(fold.task, criterion, *columns, target_scaling(fold))


def score(
    yardstick: Yardstick, outputs: NDArray[Any], targets: NDArray[Any], part: str = "val"
) -> dict[str, float]:
    """Score a model's outputs against the labels that are there.

    Regression gives for each target ``<part>_rmse/<target>``, ``<part>_mae/<target>`` and
    ``<part>_r2/<target>`` in original units, the transform undone, and where there is a
    transform the same three as ``<part>_transformed_rmse/<target>`` and so on. A single target
    has all of these without the suffix too. Several targets have ``<part>_nrmse``, the mean of
    RMSE / training standard deviation, and ``<part>_r2``, the mean R2; both in transformed
    units, since an original scale over decades would be ruled by its few largest values.

    Classification gives ``<part>_roc_auc/<target>`` and ``<part>_prc_auc/<target>`` (the area
    under the precision-recall curve, by trapezoids) and their means without the suffix.

    ``<part>_loss`` is the yardstick itself: the criterion on standardised targets, weighted by
    target and averaged over labels; RMSE is the root of that weighted mean square. For
    classification it is the cross-entropy.

    A figure that the labels do not define is absent: all of a target without labels, R2 of
    fewer than two different labels, areas where one class is missing. A mean is over the
    targets whose figure is defined, and absent if none is.

    Parameters
    ----------
    yardstick : Yardstick
    outputs : array, shape (n, t)
        Predictions in transformed units, or the logits of a classification.
    targets : array, shape (n, t)
        Labels in transformed units, NaN where one is missing.
    part : str
        What the names begin with: ``val``, ``train`` or ``test``.

    Raises
    ------
    ValueError
        If an output with a label is not finite, so that no figure of it means anything.
    """
    outputs, targets = np.asarray(outputs, np.float64), np.asarray(targets, np.float64)
    if not np.isfinite(outputs[np.isfinite(targets)]).all():
        raise ValueError("outputs are not finite; nothing can be scored")
    by_task = _classification if yardstick.task == "classification" else _regression
    figures = {"loss": _loss(yardstick, outputs, targets), **by_task(yardstick, outputs, targets)}
    return {f"{part}_{name}": float(x) for name, x in figures.items() if not np.isnan(x)}


def metric_names(
    task: str, target_cols: Sequence[str], transforms: Sequence[Transform]
) -> tuple[str, ...]:
    """Name every metric that an epoch of such a training reports, if its labels define all."""
    n_targets = len(target_cols)
    scaling = Scaling.identity(n_targets)
    yardstick = Yardstick(
        task, "MSE", tuple(target_cols), tuple(transforms), (1.0,) * n_targets, scaling
    )
    both_classes = np.repeat([[0.0], [1.0]], n_targets, axis=1)
    return (*score(yardstick, both_classes, both_classes), "train_loss")


def generalisation_gap(
    yardstick: Yardstick, validation: Mapping[str, float], training: Mapping[str, float]
) -> dict[str, float]:
    """Return ``generalisation_gap``: validation minus training RMSE.

    Several targets compare their NRMSE, a classification its loss. The result is empty where
    one of the two is not defined.
    """
    name = _gap_metric(yardstick)
    try:
        return {"generalisation_gap": validation[f"val_{name}"] - training[f"train_{name}"]}
    except KeyError:
        return {}


def to_original_units(values: NDArray[Any], transform: Transform) -> Float64:
    """Undo the transform of a target; exponents are clipped to +-100 so that all is finite."""
    values = np.asarray(values, dtype=np.float64)
    if transform == "none":
        return values
    powers: Float64 = np.power(10.0, np.clip(values, -LARGEST_EXPONENT, LARGEST_EXPONENT))
    return powers - 1.0 if transform == "log10p1" else powers


def _gap_metric(yardstick: Yardstick) -> str:
    if yardstick.task == "classification":
        return "loss"
    return "rmse" if len(yardstick.target_cols) == 1 else "nrmse"


# ----------------------------------------------------------------------------- regression


def _regression(yardstick: Yardstick, outputs: Float64, targets: Float64) -> dict[str, float]:
    figures: dict[str, float] = {}
    for i, (name, transform) in enumerate(
        zip(yardstick.target_cols, yardstick.transforms, strict=True)
    ):
        of_target = _target_figures(*_labelled(outputs[:, i], targets[:, i]), transform)
        figures |= {f"{figure}/{name}": x for figure, x in of_target.items()}
        if len(yardstick.target_cols) == 1:
            figures |= of_target
    if len(yardstick.target_cols) > 1:
        figures |= _over_targets(yardstick, outputs, targets)
    return figures


def _target_figures(outputs: Float64, targets: Float64, transform: Transform) -> dict[str, float]:
    pair = to_original_units(outputs, transform), to_original_units(targets, transform)
    figures = _figures(*pair)
    if transform != "none":
        transformed = _figures(outputs, targets)
        figures |= {f"transformed_{name}": x for name, x in transformed.items()}
    return figures


def _figures(outputs: Float64, targets: Float64) -> dict[str, float]:
    return {
        "rmse": _rmse(outputs, targets),
        "mae": float(np.abs(outputs - targets).mean()) if len(targets) else np.nan,
        "r2": _r2(outputs, targets),
    }


def _over_targets(yardstick: Yardstick, outputs: Float64, targets: Float64) -> dict[str, float]:
    pairs = [_labelled(outputs[:, i], targets[:, i]) for i in range(targets.shape[1])]
    nrmse = [_rmse(*p) / scale for p, scale in zip(pairs, yardstick.scaling.scales, strict=True)]
    return {"nrmse": _mean(nrmse), "r2": _mean([_r2(*pair) for pair in pairs])}


def _rmse(outputs: Float64, targets: Float64) -> float:
    return float(np.sqrt(np.square(outputs - targets).mean())) if len(targets) else np.nan


def _r2(outputs: Float64, targets: Float64) -> float:
    if len(targets) < 2 or (targets == targets[0]).all():
        return np.nan
    unexplained = np.square(targets - outputs).sum()
    return float(1.0 - unexplained / np.square(targets - targets.mean()).sum())


# ----------------------------------------------------------------------------- classification


def _classification(yardstick: Yardstick, logits: Float64, targets: Float64) -> dict[str, float]:
    pairs = [_labelled(logits[:, i], targets[:, i]) for i in range(targets.shape[1])]
    figures: dict[str, float] = {}
    for figure, area in (("roc_auc", _roc_auc), ("prc_auc", _prc_auc)):
        areas = [area(*pair) if len(np.unique(pair[1])) == 2 else np.nan for pair in pairs]
        figures |= {
            f"{figure}/{name}": x for name, x in zip(yardstick.target_cols, areas, strict=True)
        }
        figures[figure] = _mean(areas)
    return figures


def _roc_auc(logits: Float64, targets: Float64) -> float:
    return float(roc_auc_score(targets, logits))


def _prc_auc(logits: Float64, targets: Float64) -> float:
    precision, recall, _ = precision_recall_curve(targets, logits)
    return float(auc(recall, precision))


# ----------------------------------------------------------------------------- both


def _loss(yardstick: Yardstick, outputs: Float64, targets: Float64) -> float:
    labelled = np.isfinite(targets)
    if not labelled.any():
        return np.nan
    weights = np.broadcast_to(yardstick.weights, targets.shape)[labelled]
    mean = float((weights * _label_losses(yardstick, outputs, targets)[labelled]).sum())
    mean /= labelled.sum()
    is_rmse = yardstick.task == "regression" and yardstick.criterion == "RMSE"
    return float(np.sqrt(mean)) if is_rmse else mean


def _label_losses(yardstick: Yardstick, outputs: Float64, targets: Float64) -> Float64:
    if yardstick.task == "classification":
        # The logarithm of a sigmoid overflows; this form of the cross-entropy does not.
        losses = np.maximum(outputs, 0) - outputs * targets + np.log1p(np.exp(-np.abs(outputs)))
    else:
        errors = (outputs - targets) / yardstick.scaling.scales
        losses = np.abs(errors) if yardstick.criterion == "MAE" else np.square(errors)
    return np.asarray(losses, dtype=np.float64)


def _labelled(outputs: Float64, targets: Float64) -> tuple[Float64, Float64]:
    there = np.isfinite(targets)
    return outputs[there], targets[there]


def _mean(figures: Sequence[float]) -> float:
    defined = [figure for figure in figures if not np.isnan(figure)]
    return float(np.mean(defined)) if defined else np.nan
