"""Read a figure from a model's record, or say why it cannot be read."""

from __future__ import annotations

import math
from dataclasses import dataclass

from chemprop_hpo.hpo.promotion.records import ModelRecord

__all__ = ["Figure", "logged"]


@dataclass(frozen=True)
class Figure:
    """A figure by its name.

    Attributes
    ----------
    name : str
    value : float or None
        None if it cannot be used.
    lack : str
        Why it cannot be used, or an empty text.
    """

    name: str
    value: float | None
    lack: str = ""


def logged(record: ModelRecord, name: str) -> Figure:
    """Return a metric that is finite and can be what its name says.

    An RMSE or MAE below zero cannot, nor can an area outside 0 to 1.
    """
    value = record.metrics.get(name)
    if value is None:
        return Figure(name, None, f"{name} is not logged")
    if not math.isfinite(value) or _impossible(name, value):
        return Figure(name, None, f"{name} is {value:g}")
    return Figure(name, float(value))


def _impossible(name: str, value: float) -> bool:
    figure = name.split("/")[0]
    if figure.endswith("_auc"):
        return not 0 <= value <= 1
    return figure.endswith(("rmse", "mae")) and value < 0
