"""When a sweep ends before its budget: a signal, a time budget, or what nothing survives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ray.tune import Stopper

from chemprop_hpo.configs.errors import ChempropHpoError
from chemprop_hpo.hpo.search.driver_side import DriverSide
from chemprop_hpo.hpo.trial.interrupts import Interrupts, RayIsGone
from chemprop_hpo.hpo.trial.workers import WorkersEnd

__all__ = ["EarlyEnd"]


class EarlyEnd(DriverSide, Stopper):
    """Tells Tune to stop all trials, or one that is no longer this driver's.

    Parameters
    ----------
    interrupts : Interrupts
        Whether a signal came, or Ray is gone.
    find_failure : callable
        Returns why the sweep cannot go on, or None if it can.
    time_budget_s : float or None
        Seconds that the sweep may run, from now.
    has_ended : callable
        Whether the trial of a Ray id has ended in the study, whatever Tune thinks.
    on_end : callable
        Called once with the reason, before any trial is stopped.
    """

    def __init__(
        self,
        interrupts: Interrupts,
        find_failure: Callable[[], ChempropHpoError | None],
        time_budget_s: float | None,
        has_ended: Callable[[str], bool],
        on_end: Callable[[str], None],
    ) -> None:
        self._interrupts = interrupts
        self._find_failure = find_failure
        self._has_ended = has_ended
        self._on_end = on_end
        self.reason: str | None = None
        """Why all trials were stopped: ``interrupted``, ``failed``, ``time_budget``, or None."""
        self.failure: ChempropHpoError | None = None
        """Why the sweep could not go on."""
        self._workers_end = WorkersEnd()
        self._deadline = None if time_budget_s is None else time.monotonic() + time_budget_s

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether one trial must stop: another driver goes on with it."""
        return self._has_ended(trial_id)

    @contextmanager
    def around_tune(self) -> Iterator[None]:
        """Enter it around Tune's loop: it is left early, if need be, without an exception."""
        with self._interrupts.in_ray(), self._workers_end:
            yield

    def stop_all(self) -> bool:
        """Whether the sweep must end now.

        Raises
        ------
        RayIsGone
            If it must and Tune would wait for what is gone.
        """
        if self.reason is None:
            self.reason = self._reason_now()
            if self.reason is not None:
                self._end(self.reason)
        return self.reason is not None

    def is_due(self) -> bool:
        """Whether the sweep must end, or ends already; nothing is done about it here."""
        return self.reason is not None or self._reason_now() is not None

    def _end(self, reason: str) -> None:
        self._on_end(reason)
        self._interrupts.trials_are_in_order()
        if self._interrupts.ray_is_gone:
            raise RayIsGone
        self._workers_end.begin()

    def _reason_now(self) -> str | None:
        if self._interrupts.received is not None:
            return "interrupted"
        self.failure = self._find_failure()
        if self.failure is not None or self._interrupts.ray_is_gone:
            return "failed"
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return "time_budget"
        return None
