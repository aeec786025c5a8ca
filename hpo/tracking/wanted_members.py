"""What the database says of an ensemble's members, as runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from chemprop_hpo.hpo.tracking.plan_names import validation_figures
from chemprop_hpo.hpo.tracking.wanted import (
    BEST_SO_FAR,
    WantedRun,
    best_figures,
    finite,
    milliseconds,
)
from chemprop_hpo.storage.member_records import MemberKey, MemberRecord
from chemprop_hpo.storage.trials import TrialRecord

__all__ = ["MemberRuns", "mark_of"]

_STATUS = {"complete": "FINISHED", "failed": "FAILED"}


class MemberRuns:
    """Says what the run of a member ought to be.

    Parameters
    ----------
    study : str
        Its name.
    metric, mode : str
        What is best, and whether ``min`` or ``max`` is.
    trials : iterable of TrialRecord
        The study's, whose configurations the members have.
    """

    def __init__(self, study: str, metric: str, mode: str, trials: Iterable[TrialRecord]) -> None:
        self._study, self._metric, self._mode = study, metric, mode
        self._trials = {trial.number: trial for trial in trials}

    def name(self, key: MemberKey) -> str:
        """Return what a member's run is called."""
        return f"member of trial {key.trial}, split {key.split}, fold {key.fold}"

    def params(self, key: MemberKey, seed: int, max_epochs: int) -> dict[str, Any]:
        """Return the parameters of a member's run."""
        own = {"seed": seed, "split": key.split, "fold": key.fold, "max_epochs": max_epochs}
        trial = self._trials.get(key.trial)
        return {**(trial.params if trial else {}), **own}

    def tags(self, key: MemberKey) -> dict[str, Any]:
        """Return the tags that a member's run has from its beginning, without our prefix."""
        trial = self._trials.get(key.trial)
        place = {"of_trial": key.trial, "split": key.split, "fold": key.fold}
        return {"study": self._study, "head": trial.head if trial else None, **place}

    def step(self, value: float | None, best: float | None) -> dict[str, float]:
        """Return what is logged of an epoch that the database knows."""
        found = {self._metric: value, BEST_SO_FAR: best}
        return {n: x for n, x in found.items() if x is not None and math.isfinite(x)}

    def of(self, record: MemberRecord) -> WantedRun:
        """Return the run of a member that nobody trains now."""
        metrics = finite(record.metrics)
        now = milliseconds(record.ended or record.started)
        return WantedRun(
            name=self.name(record.key),
            kind="member",
            mark=mark_of(record.key),
            params=self.params(record.key, record.seed, record.max_epochs),
            tags=self.tags(record.key) | _end_tags(record),
            status=_STATUS.get(record.state, "KILLED"),
            started=milliseconds(record.started),
            ended=now,
            curve=self._curve(record.curve),
            figures=finite(best_figures(metrics, record.value)),
            if_absent=validation_figures(metrics),
            step=record.best_epoch or record.epoch,
        )

    def idle(
        self, records: Iterable[MemberRecord], is_gone: Callable[[str], bool]
    ) -> list[WantedRun]:
        """Return the runs of members that were begun, and whose drivers are gone."""
        return [
            self.of(record)
            for record in records
            if record.started is not None
            and (record.driver_id is None or is_gone(record.driver_id))
        ]

    def _curve(self, values: Iterable[float | None]) -> Mapping[int, Mapping[str, float]]:
        best: float | None = None
        found: dict[int, Mapping[str, float]] = {}
        for epoch, value in enumerate(values, start=1):
            if value is not None and math.isfinite(value):
                best = value if best is None else self._better(value, best)
                found[epoch] = self.step(value, best)
        return found

    def _better(self, one: float, other: float) -> float:
        return max(one, other) if self._mode == "max" else min(one, other)


def mark_of(key: MemberKey) -> str:
    """Return what tells a member's run from all others of the study."""
    return f"{key.trial}/{key.split}/{key.fold}/{key.cut[:16]}"


def _end_tags(record: MemberRecord) -> dict[str, Any]:
    is_ended = record.state in _STATUS
    return {
        "state": record.state if is_ended else "waiting",
        "stop_reason": record.stop_reason or "orphaned",
        "epochs": record.epoch,
        "best_epoch": record.best_epoch,
        "error": record.error,
    }
