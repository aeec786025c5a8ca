"""Which metrics a trial reports, and whether more of one is better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

__all__ = ["Mode", "reported_metrics"]

Mode = Literal["min", "max"]

_PER_TARGET: dict[str, dict[str, Mode]] = {
    "regression": {"val_rmse": "min", "val_mae": "min", "val_r2": "max"},
    "classification": {"val_roc_auc": "max", "val_prc_auc": "max"},
}
_MEANS_OF_MANY: dict[str, dict[str, Mode]] = {
    # RMSE and MAE of targets in different units have no mean that says anything.
    "regression": {"val_nrmse": "min", "val_r2": "max"},
    "classification": {"val_roc_auc": "max", "val_prc_auc": "max"},
}


def reported_metrics(task: str, target_cols: Sequence[str]) -> dict[str, Mode]:
    """Return the name of each metric that a trial reports, with its direction.

    Parameters
    ----------
    task : str
        ``regression`` or ``classification``.
    target_cols : sequence of str
        The targets; each has metrics of its own, ``val_rmse/<target>``.
    """
    single = len(target_cols) == 1
    overall = _PER_TARGET[task] if single else _MEANS_OF_MANY[task]
    each: dict[str, Mode] = {
        f"{metric}/{target}": mode
        for target in target_cols
        for metric, mode in _PER_TARGET[task].items()
    }
    return {"val_loss": "min", **overall, **each}
