"""Watch a sweep, and keep a terminal or a log up to date with it."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console, RenderableType

from chemprop_hpo.hpo.events import (
    EpochEnded,
    SweepEnded,
    SweepStarted,
    TrialEnded,
    TrialStarted,
)
from chemprop_hpo.hpo.progress.picture import picture, standing
from chemprop_hpo.hpo.progress.screen import Screen, harmless
from chemprop_hpo.hpo.progress.state import SweepState
from chemprop_hpo.hpo.progress.wording import FREE_REASONS, STATE_WORDS

__all__ = ["LiveDisplay"]


class LiveDisplay(Screen):
    """Watch a sweep and show it; an ``Observer``, and a context that restores the terminal."""

    def __init__(
        self,
        console: Console,
        *,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(console, quiet=quiet, clock=clock)
        self.state: SweepState | None = None

    @harmless
    def sweep_started(self, event: SweepStarted) -> None:
        """Begin to show a sweep."""
        self.state = SweepState(event, self._clock)
        self._say(_opening(event))
        self._open()
        self._draw(self._picture)

    @harmless
    def trial_started(self, event: TrialStarted) -> None:
        """Show a trial among the running ones."""
        if self.state:
            self.state.trial_started(event)

    @harmless
    def epoch_ended(self, event: EpochEnded) -> None:
        """Lengthen the curve of a trial."""
        if self.state:
            self.state.epoch_ended(event)

    @harmless
    def trial_ended(self, event: TrialEnded) -> None:
        """Count a trial; say how it ended where that is news."""
        if self.state is None:
            return
        is_best = self.state.trial_ended(event)
        if self._live is None or is_best or event.state == "FAIL":
            self._say(self._ending(event, is_best))

    @harmless
    def tick(self) -> None:
        """Draw again, if it is time to."""
        if self.state is None or not self._is_due():
            return
        if self._live:
            self._draw(self._picture)
        else:
            self._say(standing(self.state))

    @harmless
    def sweep_ended(self, event: SweepEnded) -> None:
        """Stop showing."""
        self.close()

    def _picture(self, console: Console) -> RenderableType:
        assert self.state is not None
        return picture(self.state, console)

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
