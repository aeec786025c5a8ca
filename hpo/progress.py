"""Show a running sweep: live on a terminal, as plain lines elsewhere."""

from __future__ import annotations

import functools
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeVar, cast

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from chemprop_hpo.hpo.events import (
    EpochEnded,
    SweepEnded,
    SweepStarted,
    TrialEnded,
    TrialStarted,
)
from chemprop_hpo.hpo.sparkline import sparkline

__all__ = ["LiveDisplay", "SweepState", "duration"]

logger = logging.getLogger(__name__)

REFRESH_S = 0.25
PLAIN_LINE_S = 30.0
MINUTE_S = 60
PACE_WINDOW_S = 120.0
MAX_CURVE_POINTS = 2000
NARROW = 76
STATE_WORDS = {"COMPLETE": "complete", "PRUNED": "stopped early", "FAIL": "failed"}
# These links of a chain are taken up again by another trial and use no budget.
FREE_REASONS = frozenset({"interrupted", "orphaned", "time_budget"})


@dataclass
class RunningTrial:
    """What is known of a trial that has a worker."""

    number: int
    head: str
    epoch: int = 0
    value: float | None = None
    best: float | None = None
    curve: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_CURVE_POINTS))


class SweepState:
    """The sweep in numbers, kept up to date by its events.

    Parameters
    ----------
    started : SweepStarted
        The event that opened the sweep.
    clock : callable
        Seconds on a clock that never goes back.
    """

    def __init__(self, started: SweepStarted, clock: Callable[[], float]) -> None:
        self.started = started
        self.running: dict[int, RunningTrial] = {}
        self.counts = {state: started.counts.get(state, 0) for state in STATE_WORDS}
        self.used = sum(self.counts.values())
        self.best = started.best
        self.best_note = ""
        self._clock = clock
        self._begun = clock()
        self._epoch_times: deque[float] = deque()
        self._lengths: list[int] = []

    def trial_started(self, event: TrialStarted) -> None:
        """Take a trial into the running ones."""
        if event.continues is not None:
            # The trial that it goes on with was counted as used; the chain counts once.
            self.used = max(self.used - 1, 0)
        self.running[event.number] = RunningTrial(event.number, event.head)

    def epoch_ended(self, event: EpochEnded) -> None:
        """Note one epoch of one trial."""
        trial = self.running.setdefault(event.number, RunningTrial(event.number, ""))
        trial.epoch, trial.value, trial.best = event.epoch, event.value, event.best
        trial.curve.append(event.value)
        self._epoch_times.append(self._clock())

    def trial_ended(self, event: TrialEnded) -> bool:
        """Note the end of a trial; return whether it is the best complete one so far."""
        trial = self.running.pop(event.number, RunningTrial(event.number, ""))
        self.counts[event.state] = self.counts.get(event.state, 0) + 1
        if event.stop_reason not in FREE_REASONS:
            self.used += 1
        if event.state != "FAIL":
            self._lengths.append(event.epochs)
        if event.state != "COMPLETE" or not self._improves(event.value):
            return False
        self.best = event.value
        self.best_note = f" (trial {event.number}{_head_note(trial)}, epoch {event.best_epoch})"
        return True

    def epochs_per_s(self) -> float | None:
        """Return the pace over the last two minutes, or None before the first epoch."""
        now = self._clock()
        while self._epoch_times and now - self._epoch_times[0] > PACE_WINDOW_S:
            self._epoch_times.popleft()
        span = min(now - self._begun, PACE_WINDOW_S)
        return len(self._epoch_times) / span if self._epoch_times and span > 0 else None

    def time_left(self) -> str:
        """Say about how long the remaining trials take, at the present pace."""
        pace = self.epochs_per_s()
        if pace is None:
            return "time left not known yet"
        seconds = self._epochs_left() / pace
        if seconds < MINUTE_S:
            return f"{duration(seconds)} left"
        # Until a trial has ended, each is taken to train to the last epoch.
        how = "about" if self._lengths else "at most about"
        return f"{how} {duration(seconds)} left"

    def _epochs_left(self) -> float:
        longest = self.started.max_epochs
        usual = sum(self._lengths) / len(self._lengths) if self._lengths else longest
        waiting = max(self.started.num_samples - self.used - len(self.running), 0)
        begun = sum(
            max((usual if t.epoch < usual else longest) - t.epoch, 0) for t in self.running.values()
        )
        return waiting * usual + begun

    def _improves(self, value: float | None) -> bool:
        if value is None or self.best is None:
            return value is not None
        return value < self.best if self.started.mode == "min" else value > self.best


def duration(seconds: float) -> str:
    """Return a length of time as a person says it.

    Examples
    --------
    >>> duration(20), duration(200), duration(5000)
    ('less than a minute', '4 min', '1 h 24 min')
    """
    if seconds < MINUTE_S:
        return "less than a minute"
    minutes = -int(-seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours / 24:.0f} days"


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
            self._say(_standing(self.state))

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
        line = f"trial {event.number} {word} ({event.stop_reason}) after {event.epochs} epochs"
        if event.value is not None:
            line += f": {self.state.started.metric} {event.value:.4g}"
        if event.error:
            line += f": {event.error.strip().splitlines()[-1]}"
        return line + (", the best so far" if is_best else "")


def _opening(event: SweepStarted) -> str:
    verb = "goes on" if event.resumed else "begins"
    done = sum(event.counts.get(state, 0) for state in STATE_WORDS)
    past = f", {done} trials already there" if done else ""
    return (
        f"study {event.study} {verb} in {event.storage}: {event.num_samples} trials of at most "
        f"{event.max_epochs} epochs, {event.concurrency} at a time{past}"
    )


def _standing(state: SweepState) -> str:
    parts = [_tally(state), _best(state), _pace(state)]
    return "; ".join(parts)


def _tally(state: SweepState) -> str:
    counts = [f"{n} {STATE_WORDS.get(s, s.lower())}" for s, n in state.counts.items() if n]
    shown = [f"{state.used} of {state.started.num_samples} trials done", *counts]
    return ", ".join([*shown, f"{len(state.running)} running"])


def _best(state: SweepState) -> str:
    if state.best is None:
        return f"no complete trial yet ({state.started.metric}, {state.started.mode})"
    return f"best {state.started.metric} {state.best:.4g}{state.best_note}"


def _pace(state: SweepState) -> str:
    pace = state.epochs_per_s()
    text = (
        "" if pace is None else f"{pace:.2g} epochs/s, " if pace < 10 else f"{pace:.0f} epochs/s, "
    )
    return text + state.time_left()


def _head_note(trial: RunningTrial) -> str:
    return f", {trial.head.replace('_', ' ')}" if trial.head else ""


def picture(state: SweepState, console: Console) -> Group:
    """Return the sweep as it stands, drawn for the console's width and height."""
    title = Text(f"{state.started.study}  ", style="bold")
    title.append(_bar(state, console), style="cyan")
    lines = [Text(line) for line in (_tally(state), _best(state), _pace(state))]
    return Group(title, *lines, *_running(state, console))


def _bar(state: SweepState, console: Console) -> str:
    width = max(min(console.width - len(state.started.study) - 4, 40), 10)
    full = round(width * min(state.used / max(state.started.num_samples, 1), 1))
    done, rest = ("━", "─") if _draws_blocks(console) else ("#", "-")
    return done * full + rest * (width - full)


def _running(state: SweepState, console: Console) -> list[Table | Text]:
    rows = max(console.height - 8, 1)
    trials = sorted(state.running.values(), key=lambda t: t.number)
    if not trials:
        return []
    table = _curves(trials[:rows], state, console)
    hidden = len(trials) - rows
    return [table, Text(f"and {hidden} more")] if hidden > 0 else [table]


def _curves(trials: list[RunningTrial], state: SweepState, console: Console) -> Table:
    wide = console.width >= NARROW
    table = Table(box=None, padding=(0, 0, 0, 2), pad_edge=False)
    columns = ["trial", "epoch", "best", "last", "head"] if wide else ["trial", "epoch", "best"]
    for name in columns:
        table.add_column(name, no_wrap=True, justify="left" if name == "head" else "right")
    table.add_column(state.started.metric, no_wrap=True, overflow="crop")
    points = min(max(console.width - (60 if wide else 36), 8), 60)
    for trial in trials:
        table.add_row(*_cells(trial, state)[: len(columns)], _curve(trial, points, console))
    return table


def _cells(trial: RunningTrial, state: SweepState) -> list[str]:
    return [
        str(trial.number),
        f"{trial.epoch}/{state.started.max_epochs}",
        "" if trial.best is None else f"{trial.best:.4g}",
        "" if trial.value is None else f"{trial.value:.4g}",
        trial.head.replace("_", " "),
    ]


def _curve(trial: RunningTrial, points: int, console: Console) -> str:
    return sparkline(trial.curve, points, blocks=_draws_blocks(console))


def _draws_blocks(console: Console) -> bool:
    return console.encoding.lower().startswith("utf")
