"""When a sweep ends before its budget: a signal, a time budget, or what nothing survives."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ray.tune import Stopper

from chemprop_hpo.hpo.search.driver_side import DriverSide
from chemprop_hpo.hpo.trial.interrupts import Interrupts

__all__ = ["EarlyEnd"]


class EarlyEnd(DriverSide, Stopper):
    """Tells Tune to stop all trials.

    Parameters
    ----------
    interrupts : Interrupts
        Whether a signal came.
    failed : callable
        Whether the sweep cannot go on.
    time_budget_s : float or None
        Seconds that the sweep may run, from now.
    on_end : callable
        Called once with the reason, before any trial is stopped.
    """

    def __init__(
        self,
        interrupts: Interrupts,
        failed: Callable[[], bool],
        time_budget_s: float | None,
        on_end: Callable[[str], None],
    ) -> None:
        self._interrupts = interrupts
        self._failed = failed
        self._on_end = on_end
        self.reason: str | None = None
        """Why all trials were stopped: ``interrupted``, ``failed``, ``time_budget``, or None."""
        self._deadline = None if time_budget_s is None else time.monotonic() + time_budget_s

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Stop no single trial."""
        return False

    def stop_all(self) -> bool:
        """Whether the sweep must end now."""
        if self.reason is None:
            self.reason = self._reason_now()
            if self.reason is not None:
                self._on_end(self.reason)
        return self.reason is not None

    def _reason_now(self) -> str | None:
        if self._interrupts.received is not None:
            return "interrupted"
        if self._failed():
            return "failed"
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return "time_budget"
        return None
