"""A run as it ought to be, said by the study, to be held against what MLflow has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from chemprop_hpo.hpo.tracking.plan_names import plan_figures

__all__ = ["BEST_SO_FAR", "WantedRun", "best_figures", "finite", "milliseconds", "status_of"]

BEST_SO_FAR = "best_so_far"
"""The running best of the study's metric, by epoch: what a study stores of each epoch."""

_STOPPED_FROM_OUTSIDE = frozenset({"interrupted", "orphaned", "time_budget"})


@dataclass(frozen=True)
class WantedRun:
    """One run.

    Attributes
    ----------
    name : str
    mark : str
        What tells it from others of its kind below the same sweep.
    kind : str
        ``trial``, ``member``, ``ensemble`` or ``rank``.
    params, tags : mapping
        Tags without the prefix of ours.
    status : str
        ``FINISHED``, ``FAILED`` or ``KILLED``; ``RUNNING`` while it is worked on.
    started, ended : int or None
        Milliseconds since 1970.
    curve : mapping of int to mapping
        Metrics by step; `BEST_SO_FAR` is among them at each.
    figures : mapping of str to float
        Metrics with one value, which nobody logs by step.
    if_absent : mapping of str to float
        Metrics that are a curve where a driver logged it.
    step : int
        Of the figures.
    files : mapping of str to Path
        Artifacts.
    members : tuple of str
        Of an ensemble: the marks of its members.
    parts : tuple of WantedRun
        Of an ensemble: the runs of its ranks, which stand below it.
    """

    name: str
    kind: str
    mark: str
    params: Mapping[str, Any]
    tags: Mapping[str, Any]
    status: str
    started: int | None
    ended: int | None
    curve: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    if_absent: Mapping[str, float] = field(default_factory=dict)
    step: int = 0
    files: Mapping[str, Path] = field(default_factory=dict)
    members: tuple[str, ...] = ()
    parts: tuple[WantedRun, ...] = ()


def best_figures(metrics: Mapping[str, float], value: float | None) -> dict[str, float]:
    """Return what is logged of a training's best epoch.

    Parameters
    ----------
    metrics : mapping of str to float
        Of that epoch, under the names of `chemprop_hpo.hpo.chemistry.training.metrics.score`.
    value : float or None
        The study's metric.
    """
    best = {f"best/{n}": figure for n, figure in metrics.items() if not n.startswith("best_")}
    own = {} if value is None else {"best_value": value}
    return best | plan_figures(metrics) | own


def status_of(state: str, stop_reason: str | None) -> str:
    """Return how MLflow calls a trial's state."""
    if state in {"COMPLETE", "PRUNED"}:
        return "FINISHED"
    return "KILLED" if stop_reason in _STOPPED_FROM_OUTSIDE else "FAILED"


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics that are finite; MLflow's databases take no others."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def milliseconds(moment: datetime | None) -> int | None:
    """Return a moment in MLflow's own unit, milliseconds since 1970."""
    return None if moment is None else int(moment.timestamp() * 1000)
