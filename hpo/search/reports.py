"""What a worker tells the driver after each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["REPORT", "TrialReport"]

REPORT = "report"


@dataclass(frozen=True)
class TrialReport:
    """One epoch of one trial, or how the trial ended.

    Attributes
    ----------
    epoch : int
        Counted from 1; 0 means that nothing was trained.
    value, best, best_epoch
        The chosen metric of this epoch; the best so far, and the first epoch that reached it.
    metrics, best_metrics : mapping of str to float
        All metrics of this epoch, and of the best one.
    seconds : float
        Wall time of the epoch.
    stop_reason : str or None
        In a trial's last report only: ``max_t``, ``early_stopping``, ``nan``, ``oom``,
        ``error`` or ``unwritable``.
    final : mapping of str to float, or None
        In the last report, the figures of the best epoch on both parts of the data.
    error : str or None
        What went wrong.
    curve : tuple of float
        The running best of epochs 1 to ``epoch``. Only the report that repeats a checkpoint's
        own epoch has it: the checkpoint may be ahead of the study by many epochs.
    notes : tuple of str
        Lines that a person should read: a damaged checkpoint passed over, a start from
        scratch and why.
    resumed_from : int or None
        In a worker's first report of a trial: the epoch of the checkpoint that it went on
        from, 0 for a start from scratch although epochs were trained before, None for a
        fresh start. None in the reports that follow.
    """

    epoch: int = 0
    value: float | None = None
    best: float | None = None
    best_epoch: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    best_metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    stop_reason: str | None = None
    final: Mapping[str, float] | None = None
    error: str | None = None
    curve: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    resumed_from: int | None = None

    def as_result(self) -> dict[str, Any]:
        """Return the report as Tune wants it: what ASHA reads at the top, the rest in one piece."""
        result: dict[str, Any] = {REPORT: self, "done": self.stop_reason is not None}
        if self.best is not None:
            result |= {"epoch": self.epoch, "best": self.best}
        return result
