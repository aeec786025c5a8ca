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
PATIENCE_S = 40.0


class Interrupts:
    """While entered, the first Ctrl-C or SIGTERM is noted and the second ends the process at once.

    Installed after Ray has started, because Ray installs handlers of its own. A signal to the
    whole process group (a batch system's, a supervisor's) ends Ray's processes too, and then
    Tune may never return: so the process ends by itself after a while.

    Parameters
    ----------
    farewell : str
        Written to stderr where the process has to end by itself.
    patience_s : float
        Seconds from the first signal until then.
    """

    def __init__(self, farewell: str, patience_s: float = PATIENCE_S) -> None:
        self.received: int | None = None
        self._farewell = farewell
        self._patience_s = patience_s
        self._timer: threading.Timer | None = None
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
        if self._timer is not None:
            self._timer.cancel()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            os._exit(128 + number)
        self.received = number
        self._timer = threading.Timer(self._patience_s, self._give_up)
        self._timer.daemon = True
        self._timer.start()

    def _give_up(self) -> None:
        os.write(2, f"\n{self._farewell}\n".encode())
        os._exit(128 + (self.received or 0))


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
