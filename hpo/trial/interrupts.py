"""What becomes of a signal to the driver: the sweep ends in order, or at once."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Interrupts"]

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
