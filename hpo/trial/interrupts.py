"""What becomes of a signal to the driver: the sweep ends in order, or at once."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, Self

from chemprop_hpo.hpo.trial.last_words import LastWords
from chemprop_hpo.hpo.trial.ray_processes import end_ray, ray_is_gone

__all__ = ["Interrupts", "RayIsGone", "Stopped", "stopped_by_signals"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# `timeout` and others send a signal to a process and to its group: that is one request.
SAME_S = 0.5
RAY_PATIENCE_S = 5.0
# Ray's own way out waits five seconds for a raylet that is gone.
LEAVING_PATIENCE_S = 20.0
TUNE_PATIENCE_S = 9.0
PATIENCE_S = 30.0
STOP_WITHIN_S = 10.0
AGAIN_AFTER_S = 0.01
LOOK_EVERY_S = 0.5
SHOW_CURSOR = b"\x1b[?25h"


class Stopped(BaseException):
    """A signal came while nothing was under way that would have to be put in order.

    Parameters
    ----------
    number : int
        The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


class RayIsGone(BaseException):
    """Leaves Tune's loop at once: its own way out waits for workers that are gone."""


@contextlib.contextmanager
def stopped_by_signals(farewell: str, within_s: float = STOP_WITHIN_S) -> Iterator[None]:
    """While entered, the first signal raises `Stopped`, the second ends the process at once.

    Parameters
    ----------
    farewell : str
        Written to stderr where the process is ended at once.
    within_s : float
        Seconds from the first signal until that is done without a second.

    Raises
    ------
    Stopped
        After a signal, also in the place of any error that followed: what is imported half
        complains of many things. That error is its cause.
    """
    stopping = _Stopping(farewell, within_s)
    before = _handle(stopping.receive)
    sys.unraisablehook = stopping.note_unraisable
    try:
        yield
    except Exception as error:
        if stopping.number is None:
            raise
        raise Stopped(stopping.number) from error
    finally:
        stopping.close()
        sys.unraisablehook = stopping.hook_before
        _restore(before)


class _Stopping:
    """What the first signal has set going, until the process has left what it was at."""

    def __init__(self, farewell: str, within_s: float) -> None:
        self.number: int | None = None
        self.hook_before = sys.unraisablehook
        self._farewell = farewell
        self._within_s = within_s
        self._received_at = 0.0
        self._again = self._in_hook = self._is_closed = False
        self._timers: list[threading.Timer] = []

    def receive(self, number: int, frame: FrameType | None) -> None:
        if self._is_closed:
            return
        if self.number is None:
            self.number, self._received_at = number, time.monotonic()
            # Libraries may swallow an exception that comes while they are imported.
            self._in(self._within_s, _end_now, 128 + number, self._farewell)
        elif not self._again:
            if time.monotonic() - self._received_at > SAME_S:
                _end_now(128 + number, self._farewell)
            return
        self._again = self._in_hook
        if self._in_hook:  # what is raised here is dropped
            self._raise_later(self.number)
        else:
            raise Stopped(self.number)

    def note_unraisable(self, unraisable: Any) -> None:
        """Raise again what Python drops in a callback of its garbage collection or imports."""
        self._in_hook = True
        try:
            if self.number is not None and issubclass(unraisable.exc_type, Stopped):
                self._again = True
                self._raise_later(self.number)
            else:
                self.hook_before(unraisable)
        finally:
            self._in_hook = False

    def close(self) -> None:
        self._is_closed = True
        for timer in self._timers:
            timer.cancel()
            timer.join()  # a signal sent after this would find no handler

    def _raise_later(self, number: int) -> None:
        # Handlers run in the main thread only.
        main = threading.main_thread().ident or 0
        self._in(AGAIN_AFTER_S, signal.pthread_kill, main, number)

    def _in(self, seconds: float, function: Callable[..., object], *arguments: object) -> None:
        timer = threading.Timer(seconds, function, arguments)
        timer.daemon = True
        timer.start()
        self._timers.append(timer)


class Interrupts:
    """While entered, the first Ctrl-C, SIGTERM or SIGHUP is noted, and a second ends the process.

    A thread of its own reads signals as they come and looks after Ray: the main thread may be
    in a call of Ray's that never returns, and runs no handler there. Where the sweep cannot be
    ended in order, the thread ends the process and all of a private Ray; trials that are then
    in flight are taken up by the next start.

    Parameters
    ----------
    farewell : str
        Written to stderr, after the reason, where the process ends without being told to.
    what : str
        What is under way, for the reason.
    ray_is_gone, end_ray : callable
        As in `chemprop_hpo.hpo.trial.ray_processes`.
    ray_patience_s : float
        Seconds from Ray's death until the main thread must have left Tune.
    leaving_patience_s : float
        Seconds that leaving a Ray which is gone may take then.
    tune_patience_s : float
        Seconds from the first signal until the main thread must have left Tune, if all trials
        are in order.
    patience_s : float
        Seconds from the first signal until the process must have ended.
    """

    def __init__(
        self,
        farewell: str,
        *,
        what: str = "the sweep",
        ray_is_gone: Callable[[], bool] = ray_is_gone,
        end_ray: Callable[[], None] = end_ray,
        ray_patience_s: float = RAY_PATIENCE_S,
        leaving_patience_s: float = LEAVING_PATIENCE_S,
        tune_patience_s: float = TUNE_PATIENCE_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.received: int | None = None
        """The first signal that came, or None."""
        self._farewell = farewell
        self._what = what
        self._ray_is_gone = ray_is_gone
        self._end_ray = end_ray
        self._ray_patience_s = ray_patience_s
        self._leaving_patience_s = leaving_patience_s
        self._tune_patience_s = tune_patience_s
        self._patience_s = patience_s
        self._received_at = self._ray_gone_at = self._leaving_at = math.inf
        self._in_ray = self._in_order = False
        self._last_words = LastWords(f"{what} was killed; {farewell}")
        self._handlers: dict[int, Any] = {}
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        self._last_words.__enter__()
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        if threading.current_thread() is threading.main_thread():
            self._wakeup_fd_before = signal.set_wakeup_fd(self._write)
            self._handlers = _handle(lambda number, frame: None)
        self._thread = threading.Thread(target=self._watch, name="interrupts", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._handlers:
            _restore(self._handlers)
            signal.set_wakeup_fd(self._wakeup_fd_before)
        self._closed.set()
        os.write(self._write, b"\0")
        self._thread.join()
        os.close(self._read)
        os.close(self._write)
        self._last_words.take_back()

    @property
    def ray_is_gone(self) -> bool:
        """Whether Ray cannot go on, while this process can."""
        return self._ray_gone_at < math.inf or self._ray_is_gone()

    @contextlib.contextmanager
    def in_ray(self) -> Iterator[None]:
        """While entered, the main thread may hang if Ray dies; `RayIsGone` leads out."""
        self._in_ray = True
        try:
            yield
        except RayIsGone:
            self._leaving_at = time.monotonic()
            import ray  # at the top it would take two seconds of every command

            self._end_ray()
            ray.shutdown()  # it would end this process, which has work left
        finally:
            self._in_ray = False

    def trials_are_in_order(self) -> None:
        """Note that nothing is lost any more if the process ends here."""
        self._in_order = True

    # ------------------------------------------------------------------ in the thread

    def _watch(self) -> None:
        while not self._closed.is_set():
            readable, _, _ = select.select([self._read], [], [], LOOK_EVERY_S)
            for number in os.read(self._read, 64) if readable else b"":
                self._note(number)
            if self._ray_gone_at == math.inf and self._ray_is_gone():
                self._ray_gone_at = time.monotonic()
            if why := self._why_late():
                self._end_now(1 if self.received is None else 128 + self.received, why)

    def _note(self, number: int) -> None:
        now = time.monotonic()
        if number not in self._handlers:
            return
        if self.received is None:
            self.received, self._received_at = number, now
        elif now - self._received_at > SAME_S:
            self._end_now(128 + number, "ended at once")

    def _why_late(self) -> str | None:
        now = time.monotonic()
        waited = now - self._received_at
        if self._in_ray and self._leaving_at < math.inf:
            if now - self._leaving_at > self._leaving_patience_s:
                return "the Ray cluster went away"
        elif self._in_ray and now - self._ray_gone_at > self._ray_patience_s:
            return "the Ray cluster went away"
        elif self._in_ray and self._in_order and waited > self._tune_patience_s:
            return "Ray did not stop"
        if waited > self._patience_s:
            return f"{self._what} did not end within {self._patience_s:g} s"
        return None

    def _end_now(self, code: int, why: str) -> None:
        self._last_words.take_back()
        _end_now(code, f"{why}; {self._farewell}", self._end_ray)


def _end_now(code: int, farewell: str, end_ray: Callable[[], None] = end_ray) -> None:
    """End this process as it stands, and all of a private Ray."""
    cursor = SHOW_CURSOR if os.isatty(2) else b""  # a live display hides it
    with contextlib.suppress(OSError):
        os.write(2, cursor + f"\n{farewell}\n".encode())
    with contextlib.suppress(Exception):  # whatever is wrong, this is the end
        end_ray()
    os._exit(code)


def _handle(handler: Callable[[int, FrameType | None], None]) -> dict[int, Any]:
    """Handle the signals that end a program, and return what handled them before."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    # What `nohup` has set to be ignored stays so.
    wanted = [s for s in SIGNALS if s == signal.SIGINT or signal.getsignal(s) != signal.SIG_IGN]
    return {s: signal.signal(s, handler) for s in wanted}


def _restore(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        # None is one that Python has not set, and cannot set again.
        signal.signal(number, signal.SIG_DFL if handler is None else handler)
