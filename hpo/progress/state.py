"""Keep the sweep in numbers, as its events tell them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from chemprop_hpo.hpo.events import EpochEnded, SweepStarted, TrialEnded, TrialStarted
from chemprop_hpo.hpo.progress.wording import FREE_REASONS, MINUTE_S, STATE_WORDS, duration

__all__ = ["RunningTrial", "SweepState"]

PACE_WINDOW_S = 120.0
MAX_CURVE_POINTS = 2000


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
        self.counts["FAIL"] -= started.continued
        self.used = sum(self.counts.values())
        self.best = started.best
        self.best_note = ""
        self._clock = clock
        self._begun = clock()
        self._epoch_times: deque[float] = deque()
        self._lengths: list[int] = []

    def trial_started(self, event: TrialStarted) -> None:
        """Take a trial into the running ones."""
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
        if event.stop_reason in FREE_REASONS:
            return False  # another trial goes on with it, and the chain counts once
        self.counts[event.state] = self.counts.get(event.state, 0) + 1
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


def _head_note(trial: RunningTrial) -> str:
    return f", {trial.head.replace('_', ' ')}" if trial.head else ""
