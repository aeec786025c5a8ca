"""When a sweep ends before its budget: a signal, a time budget, or what nothing survives."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from ray.tune import Stopper

from chemprop_hpo.hpo.search.driver_side import DriverSide

__all__ = ["EarlyEnd", "Interrupts"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """While entered, the first Ctrl-C or SIGTERM is noted and the second ends the process at once.

    Installed after Ray has started, because Ray installs handlers of its own.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {s: signal.signal(s, self._note) for s in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            os._exit(128 + number)
        self.received = number


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
    """

    def __init__(
        self, interrupts: Interrupts, failed: Callable[[], bool], time_budget_s: float | None
    ) -> None:
        self._interrupts = interrupts
        self._failed = failed
        self._deadline = None if time_budget_s is None else time.monotonic() + time_budget_s

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Stop no single trial."""
        return False

    def stop_all(self) -> bool:
        """Whether the sweep must end now."""
        return self.reason is not None

    @property
    def reason(self) -> str | None:
        """``interrupted``, ``failed``, ``time_budget``, or ``None`` to go on."""
        if self._interrupts.received is not None:
            return "interrupted"
        if self._failed():
            return "failed"
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return "time_budget"
        return None
