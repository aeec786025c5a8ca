"""Watch a sweep, and keep a terminal or a log up to date with it."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar, cast

from rich.console import Console
from rich.live import Live

from chemprop_hpo.hpo.events import (
    EpochEnded,
    SweepEnded,
    SweepStarted,
    TrialEnded,
    TrialStarted,
)
from chemprop_hpo.hpo.progress.picture import picture, standing
from chemprop_hpo.hpo.progress.state import SweepState
from chemprop_hpo.hpo.progress.wording import FREE_REASONS, STATE_WORDS

__all__ = ["LiveDisplay"]

logger = logging.getLogger(__name__)

REFRESH_S = 0.25
PLAIN_LINE_S = 30.0

_Method = TypeVar("_Method", bound=Callable[..., None])


def _harmless(method: _Method) -> _Method:
    """Wrap a method so that a fault of the display never reaches the sweep."""

    @functools.wraps(method)
    def guarded(self: LiveDisplay, *event: object) -> None:
        if self.broken:
            return
        try:
            method(self, *event)
        except Exception as error:
            self.broken = True
            self.close()
            logger.warning("no more progress display (%r); the sweep goes on", error)

    return cast(_Method, guarded)


class LiveDisplay:
    """Watch a sweep and show it; an ``Observer``, and a context that restores the terminal.

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
        self.state: SweepState | None = None
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

    @_harmless
    def sweep_started(self, event: SweepStarted) -> None:
        """Begin to show a sweep."""
        self.state = SweepState(event, self._clock)
        self._say(_opening(event))
        if self._quiet or not self._console.is_terminal or self._console.is_dumb_terminal:
            return
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()
        self._draw()

    @_harmless
    def trial_started(self, event: TrialStarted) -> None:
        """Show a trial among the running ones."""
        if self.state:
            self.state.trial_started(event)

    @_harmless
    def epoch_ended(self, event: EpochEnded) -> None:
        """Lengthen the curve of a trial."""
        if self.state:
            self.state.epoch_ended(event)

    @_harmless
    def trial_ended(self, event: TrialEnded) -> None:
        """Count a trial; say how it ended where that is news."""
        if self.state is None:
            return
        is_best = self.state.trial_ended(event)
        if self._live is None or is_best or event.state == "FAIL":
            self._say(self._ending(event, is_best))

    @_harmless
    def tick(self) -> None:
        """Draw again, if it is time to."""
        pause = REFRESH_S if self._live else PLAIN_LINE_S
        if self.state is None or self._clock() - self._last_shown < pause:
            return
        if self._live:
            self._draw()
        else:
            self._say(standing(self.state))

    @_harmless
    def sweep_ended(self, event: SweepEnded) -> None:
        """Stop showing."""
        self.close()

    def _say(self, line: str) -> None:
        if self._quiet:
            return
        self._last_shown = self._clock()
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _draw(self) -> None:
        if self._live is None or self.state is None:
            return
        self._last_shown = self._clock()
        self._live.update(picture(self.state, self._console), refresh=True)

    def _ending(self, event: TrialEnded, is_best: bool) -> str:
        assert self.state is not None
        word = STATE_WORDS.get(event.state, event.state.lower())
        word = "stopped" if event.stop_reason in FREE_REASONS else word
        line = f"trial {event.number} {word} ({event.stop_reason}) after {event.epochs} epochs"
        if event.value is not None:
            line += f": {self.state.started.metric} {event.value:.4g}"
        if event.error:
            line += f": {event.error.strip().splitlines()[-1]}"
        return line + (", the best so far" if is_best else "")


def _opening(event: SweepStarted) -> str:
    verb = "goes on" if event.resumed else "begins"
    done = sum(event.counts.get(state, 0) for state in STATE_WORDS) - event.continued
    past = f", {done} trials already there" if done else ""
    return (
        f"study {event.study} {verb} in {event.storage}: {event.num_samples} trials of at most "
        f"{event.max_epochs} epochs, {event.concurrency} at a time{past}"
    )
