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

    Epochs count from 1; 0 means that nothing was trained. ``stop_reason`` is set in a trial's
    last report only: ``max_t``, ``early_stopping``, ``nan``, ``oom``, ``error`` or
    ``disk_full``. ``final`` holds the figures of the best epoch on both parts of the data.
    """

    epoch: int = 0
    value: float | None = None
    best: float | None = None
    best_epoch: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    stop_reason: str | None = None
    final: Mapping[str, float] | None = None
    error: str | None = None

    def as_result(self) -> dict[str, Any]:
        """Return the report as Tune wants it: what ASHA reads at the top, the rest in one piece."""
        result: dict[str, Any] = {REPORT: self, "done": self.stop_reason is not None}
        if self.best is not None:
            result |= {"epoch": self.epoch, "best": self.best}
        return result
