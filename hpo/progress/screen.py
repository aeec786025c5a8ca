"""Draw on a terminal while something runs, or print a line now and then where there is none."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

from rich.console import Console, RenderableType
from rich.live import Live

__all__ = ["Screen", "harmless"]

logger = logging.getLogger(__name__)

REFRESH_S = 0.5
PLAIN_LINE_S = 30.0

_Screen = TypeVar("_Screen", bound="Screen")
_Event = ParamSpec("_Event")


def harmless(
    method: Callable[Concatenate[_Screen, _Event], None],
) -> Callable[Concatenate[_Screen, _Event], None]:
    """Wrap a method so that a fault of the display never reaches what it shows."""

    @functools.wraps(method)
    def guarded(self: _Screen, /, *event: _Event.args, **more: _Event.kwargs) -> None:
        if self.broken:
            return
        try:
            method(self, *event, **more)
        except Exception as error:
            self.broken = True
            self.close()
            logger.warning("no more progress display (%r); the work goes on", error)

    return guarded


class Screen:
    """A place to show progress; a context that gives the terminal back as it was.

    Parameters
    ----------
    console : rich.console.Console
        Where to draw. Lines are printed where it is not a terminal.
    quiet : bool
        Show nothing.
    clock : callable
        Seconds on a clock that never goes back.
    """

    def __init__(
        self,
        console: Console,
        *,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.broken = False
        self._console = console
        self._quiet = quiet
        self._clock = clock
        self._live: Live | None = None
        self._last_shown = clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the terminal back as it was; harmless when called twice."""
        live, self._live = self._live, None
        try:
            if live is not None:
                live.stop()
        except Exception as error:
            logger.debug("the display did not close: %r", error)

    def _open(self) -> None:
        """Begin to draw, where there is a terminal to draw on."""
        if self._quiet or not self._console.is_terminal or self._console.is_dumb_terminal:
            return
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()

    def _is_due(self) -> bool:
        """Return whether it is time to draw again, or for another line."""
        pause = REFRESH_S if self._live else PLAIN_LINE_S
        return self._clock() - self._last_shown >= pause

    def _say(self, line: str) -> None:
        if self._quiet:
            return
        self._last_shown = self._clock()
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _draw(self, picture: Callable[[Console], RenderableType]) -> None:
        if self._live is None:
            return
        self._last_shown = self._clock()
        self._live.update(picture(self._console), refresh=True)
