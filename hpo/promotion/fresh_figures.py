"""Compute a champion's error on fresh labels, over those targets that can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from chemprop_hpo.hpo.chemistry.tables.problems import counted
from chemprop_hpo.hpo.evaluation.redrawn import redrawn_interval
from chemprop_hpo.hpo.promotion.held_out import held_out_error, label_stds
from chemprop_hpo.hpo.promotion.monitoring import FreshError
from chemprop_hpo.hpo.promotion.records import ModelRecord

__all__ = ["fresh_error"]

Float64 = NDArray[np.float64]

LEAST_OF_A_CLASS = 5
"""Molecules of the rarer class that define an area.

Of a champion as good as registered (ROC-AUC 0.8 or 0.9) and 60 fresh molecules, the interval of
one positive lies above the bound in 15 to 24 % of the cases, that of five in 1 % at most.
"""


def fresh_error(
    predictions: Float64,
    labels: Float64,
    targets: Sequence[str],
    champion: ModelRecord,
    min_rows: int,
) -> FreshError:
    """Compute the error over the targets that test rows judge and fresh labels define.

    A target with fewer labels than ``min_rows`` is left out beside one that has enough, or a
    single label could move the mean. Where none has enough all are taken, and speak for nothing.

    Parameters
    ----------
    predictions, labels : float64 arrays, shape (n, t)
        In the units of the champion's test figures, or probabilities and classes; NaN where
        there is none.
    targets : sequence of str
        Names of the columns, each a target of the champion.
    champion : ModelRecord
    min_rows : int
        Labels that are needed for a rollback.
    """
    there = np.isfinite(predictions) & np.isfinite(labels)
    of_targets = {name: labels[there[:, t], t] for t, name in enumerate(targets)}
    left_out = _left_out(of_targets, champion, min_rows)
    columns = [t for t, name in enumerate(targets) if name not in left_out]
    taken = [targets[t] for t in columns]
    figure = redrawn_interval(
        np.where(there, predictions, np.nan)[:, columns],
        labels[:, columns],
        "roc_auc" if champion.task == "classification" else "rmse",
        scales=_scales(champion, taken),
    )
    return FreshError(figure, {name: len(of_targets[name]) for name in taken}, left_out)


def _left_out(
    labels: Mapping[str, Float64], champion: ModelRecord, min_rows: int
) -> dict[str, str]:
    """Return why a target is left out, by its name."""
    lacks = {name: _lack(name, own, champion) for name, own in labels.items()}
    few = [name for name, own in labels.items() if not lacks[name] and len(own) < min_rows]
    if list(lacks.values()).count("") > len(few):
        lacks |= {name: _too_few(len(labels[name]), min_rows) for name in few}
    return {name: lack for name, lack in lacks.items() if lack}


def _lack(name: str, labels: Float64, champion: ModelRecord) -> str:
    """Return why a target has no figure on one of the two sides."""
    if not next(target.tested for target in champion.targets if target.name == name):
        return "its figures on the test rows are not defined"
    if not len(labels):
        return "no fresh label that is predicted"
    rarer = int(min(np.sum(labels == 0), np.sum(labels == 1)))
    if champion.task == "classification" and rarer < LEAST_OF_A_CLASS:
        rows = counted(rarer, "fresh label")
        return f"{rows} of the rarer class, and at least {LEAST_OF_A_CLASS} are needed"
    return held_out_error(champion, label_stds(champion), (name,)).lack


def _too_few(rows: int, least: int) -> str:
    return f"{counted(rows, 'fresh label')}, and at least {least} are needed"


def _scales(champion: ModelRecord, taken: Sequence[str]) -> list[float] | None:
    """Return what each RMSE is divided by; a single target keeps its units."""
    if champion.task == "classification" or len(champion.targets) == 1:
        return None
    stds = label_stds(champion)
    return [std for name in taken if (std := stds[name]) is not None]
