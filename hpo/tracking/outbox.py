"""Deliver calls in order on a thread of their own, and keep them while nobody answers."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

__all__ = ["Outbox"]

_log = logging.getLogger(__name__)

Delivery = Callable[[], None]

TRIES = 5
"""Failed tries of one call after which the receiver is asked whether it is away at all."""


class Outbox:
    """Calls that are made one after the other, in the order given, without keeping anyone waiting.

    A call that fails because the receiver is away stays at the head and is tried again every
    ``retry_every_s`` seconds; one that is refused is dropped, and so is one that failed often
    although the receiver answers otherwise. Each is told once, as a warning.

    Parameters
    ----------
    receiver : str
        Who is written to, as it stands in messages.
    is_away : Callable
        Whether an exception means that the receiver is away, so that the call may work later.
    describe : Callable
        One line about an exception, for the warning.
    answers : Callable, optional
        Whether the receiver answers a simple question; asked after ``TRIES`` failed tries.
    what : str
        What goes on meanwhile, as it stands in messages.
    retry_every_s : float
        Seconds between two tries while the receiver is away.
    """

    def __init__(
        self,
        receiver: str,
        is_away: Callable[[Exception], bool],
        describe: Callable[[Exception], str] = str,
        *,
        answers: Callable[[], bool] = lambda: False,
        what: str = "the sweep",
        retry_every_s: float = 3.0,
    ) -> None:
        self._receiver = receiver
        self._what = what
        self._is_away = is_away
        self._describe = describe
        self._answers = answers
        self._retry_every_s = retry_every_s
        self._pending: deque[Delivery] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._told: set[str] = set()
        self._tries = 0
        self._progress = 0
        self.delivered = 0
        self.refused = 0
        # A daemon: a receiver that hangs must not keep the program from ending.
        self._thread = threading.Thread(target=self._work, name="mlflow-outbox", daemon=True)
        self._thread.start()

    def put(self, delivery: Delivery) -> None:
        """Append a call, which may be made more than once: it must be safe to repeat."""
        with self._changed:
            self._pending.append(delivery)
            self._changed.notify_all()

    def note_progress(self) -> None:
        """Be told that a call goes forward: one that asks for much is no stalled one."""
        self._progress += 1

    def close(self, timeout_s: float = 600.0, stalled_s: float = 15.0) -> int:
        """Deliver what is left, with one last try if the receiver is away.

        Parameters
        ----------
        timeout_s : float
            Seconds after which it is given up, even if calls are still being delivered.
        stalled_s : float
            Seconds after which it is given up if nothing went forward in that time.

        Returns
        -------
        int
            How many calls could not be delivered, refused ones included.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._join(time.monotonic() + timeout_s, stalled_s)
        return len(self._pending) + self.refused

    def _join(self, deadline: float, stalled_s: float) -> None:
        before = (-1, -1)
        while self._thread.is_alive() and before != (now := (len(self._pending), self._progress)):
            if before[0] >= 0:
                _log.info("%d entries are still to be logged to %s", now[0], self._receiver)
            before = now
            self._thread.join(min(stalled_s, max(0.0, deadline - time.monotonic())))
            if time.monotonic() >= deadline:
                return

    def _work(self) -> None:
        while (delivery := self._next()) is not None:
            closing = self._closing
            if self._arrives(delivery):
                self._pending.popleft()
                self._tries = 0
            elif closing:
                return
            else:
                self._pause()

    def _next(self) -> Delivery | None:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._pending) or self._closing)
            return self._pending[0] if self._pending else None

    def _pause(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing, timeout=self._retry_every_s)

    def _arrives(self, delivery: Delivery) -> bool:
        """Whether the call is done with, for good or ill."""
        try:
            delivery()
        except Exception as error:  # whatever a tracking server does, the sweep goes on
            if self._is_away(error) and not self._is_hopeless():
                self._tell(
                    "away",
                    "%s does not answer (%s); %s goes on, and what is to be logged is kept until it"
                    " does",
                    error,
                )
                return False
            self.refused += 1
            self._tell("refused", "%s refuses an entry (%s); %s goes on without it", error)
        else:
            self.delivered += 1
        return True

    def _is_hopeless(self) -> bool:
        """Whether the call at the head fails again and again while others would be answered."""
        self._tries += 1
        return self._tries >= TRIES and self._answers()

    def _tell(self, kind: str, message: str, error: Exception) -> None:
        level = logging.DEBUG if kind in self._told else logging.WARNING
        self._told.add(kind)
        _log.log(level, message, self._receiver, self._describe(error), self._what)
