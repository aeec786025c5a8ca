"""The error of a model on its test rows, in a unit that two models share."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping

from chemprop_hpo.hpo.promotion.figures import Figure, logged
from chemprop_hpo.hpo.promotion.judged import judged_by
from chemprop_hpo.hpo.promotion.records import JudgedTarget, ModelRecord

__all__ = ["held_out_error", "label_stds"]


def held_out_error(
    record: ModelRecord,
    stds: Mapping[str, float | None],
    among: Collection[str] | None = None,
) -> Figure:
    """Return the test RMSE, of several targets the NRMSE, or one minus the test ROC-AUC.

    One minus the area under the ROC curve is the share of pairs of both classes that are in
    the wrong order. A share of it can be gained however good the champion is already.

    Parameters
    ----------
    record : ModelRecord
    stds : mapping of str to float or None
        What the RMSE of each target is divided by: the same for both models, since a model
        that was trained on more varied labels would have the lower NRMSE for that alone. An
        NRMSE is therefore put together again from the targets' RMSEs, in transformed units
        where there is a transform.
    among : collection of str, optional
        The targets, of several, whose mean is wanted; those with test labels if not given.
    """
    name = judged_by(record).test
    several = len(record.targets) > 1
    if record.task == "classification":
        own = several and among is not None
        area = _mean(name, _areas(record, among)) if own else logged(record, name)
        return area if area.value is None else Figure(f"1 - {name}", 1 - area.value)
    return _mean(name, _shares(record, stds, among)) if several else logged(record, name)


def label_stds(record: ModelRecord) -> dict[str, float | None]:
    """Return the standard deviation of each target's training labels, None where unknown."""
    return {target.name: target.label_std for target in record.targets}


def _areas(record: ModelRecord, among: Collection[str] | None) -> Iterator[Figure]:
    for target in _wanted(record, among):
        yield logged(record, f"test_roc_auc/{target.name}")


def _shares(
    record: ModelRecord, stds: Mapping[str, float | None], among: Collection[str] | None
) -> Iterator[Figure]:
    """Yield the RMSE of each target in standard deviations of its training labels."""
    for target in _wanted(record, among):
        plain = target.transform == "none"
        rmse = logged(record, f"{'test_rmse' if plain else 'test_transformed_rmse'}/{target.name}")
        std = stds.get(target.name)
        if std is None or not math.isfinite(std) or std <= 0:
            lack = f"the standard deviation of the training labels of {target.name} is not logged"
            yield Figure(rmse.name, None, lack)
        else:
            yield rmse if rmse.value is None else Figure(rmse.name, rmse.value / std)


def _wanted(record: ModelRecord, among: Collection[str] | None) -> list[JudgedTarget]:
    return [t for t in record.targets if (t.tested if among is None else t.name in among)]


def _mean(name: str, figures: Iterable[Figure]) -> Figure:
    """Return the mean of all figures, which lacks what the first that has no value lacks."""
    values: list[float] = []
    for figure in figures:
        if figure.value is None:
            return Figure(name, None, figure.lack)
        values.append(figure.value)
    if not values:
        return Figure(name, None, "no target has test labels")
    return Figure(name, sum(values) / len(values))
