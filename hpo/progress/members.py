"""Watch the training of an ensemble's members, and keep a terminal or a log up to date."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from chemprop_hpo.hpo.ensembles.members.events import (
    MemberEnded,
    MemberEpoch,
    MembersEnded,
    MembersStarted,
    MemberStarted,
    Tally,
)
from chemprop_hpo.hpo.progress.screen import Screen, harmless
from chemprop_hpo.hpo.progress.wording import duration
from chemprop_hpo.hpo.sparkline import sparkline

__all__ = ["MemberDisplay"]

MemberKey = tuple[int, int, int]
"""Trial, split and fold."""


@dataclass
class _Running:
    epoch: int
    max_epochs: int
    best: float | None = None
    curve: deque[float] = field(default_factory=lambda: deque(maxlen=500))


class MemberDisplay(Screen):
    """Show how far each member is and how far all are together; a ``MemberObserver``."""

    def __init__(
        self,
        console: Console,
        *,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(console, quiet=quiet, clock=clock)
        self._started: MembersStarted | None = None
        self._tally = Tally(0, 0, 0)
        self._running: dict[MemberKey, _Running] = {}
        self._pace = _Pace(clock)

    @harmless
    def members_started(self, event: MembersStarted) -> None:
        """Begin to show."""
        self._started, self._tally = event, event.tally
        self._pace = _Pace(self._clock)
        there = f", {event.tally.ended} of them already there" if event.tally.ended else ""
        self._say(
            f"training {event.tally.total} models of at most {event.max_epochs} epochs, "
            f"{event.concurrency} at a time{there}"
        )
        self._open()

    @harmless
    def member_started(self, event: MemberStarted) -> None:
        """Show a member among the running ones."""
        key = event.trial, event.split, event.fold
        self._running[key] = _Running(event.epoch, event.max_epochs)
        if event.epoch:
            self._say(f"{_name(key)} goes on after epoch {event.epoch}")

    @harmless
    def member_epoch(self, event: MemberEpoch) -> None:
        """Lengthen the curve of a member."""
        key = event.trial, event.split, event.fold
        running = self._running.setdefault(key, _Running(event.epoch, event.max_epochs))
        running.epoch, running.best = event.epoch, event.best
        running.curve.append(event.value)
        self._tally = event.tally

    @harmless
    def member_ended(self, event: MemberEnded) -> None:
        """Count a member, and say how it ended."""
        key = event.trial, event.split, event.fold
        self._running.pop(key, None)
        self._tally = event.tally
        if event.state == "complete":
            self._pace.note()
        self._say(f"{event.tally.ended}/{event.tally.total} {_ending(key, event, self._metric)}")

    @harmless
    def tick(self) -> None:
        """Draw again, if it is time to."""
        if self._started is None or not self._is_due():
            return
        if self._live:
            self._draw(self._picture)
        else:
            self._say(self._standing())

    @harmless
    def members_ended(self, event: MembersEnded) -> None:
        """Stop showing."""
        self.close()

    # ------------------------------------------------------------------ drawing

    @property
    def _metric(self) -> str:
        return self._started.metric if self._started else "best"

    def _standing(self) -> str:
        tally = self._tally
        failed = f", {tally.failed} failed" if tally.failed else ""
        left = self._pace.left(tally.total - tally.ended)
        done = f"{tally.ended} of {tally.total} models done{failed}"
        return f"{done}, {len(self._running)} in training; {left}"

    def _picture(self, console: Console) -> RenderableType:
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
        for name in ("trial", "split", "fold", "epoch", "best"):
            table.add_column(name, no_wrap=True, justify="right")
        table.add_column(self._metric, no_wrap=True)
        width = min(max(console.width - 48, 8), 60)
        rows = max(console.height - 6, 1)
        for key, one in sorted(self._running.items())[:rows]:
            table.add_row(*map(str, key), *_cells(one, width, console))
        hidden = len(self._running) - rows
        more = [Text(f"and {hidden} more")] if hidden > 0 else []
        return Group(Text(self._standing()), table, *more)


class _Pace:
    """How fast members end, to say when all will have."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self._ended = 0

    def note(self) -> None:
        self._ended += 1

    def left(self, members: int) -> str:
        if not self._ended:
            return "time left not known yet"
        each = (self._clock() - self._began) / self._ended
        return f"about {duration(each * members)} left"


def _name(key: MemberKey) -> str:
    return f"trial {key[0]} split {key[1]} fold {key[2]}"


def _cells(one: _Running, width: int, console: Console) -> tuple[str, str, str]:
    curve = sparkline(one.curve, width, blocks=console.encoding.lower().startswith("utf"))
    best = "" if one.best is None else f"{one.best:.4g}"
    return f"{one.epoch}/{one.max_epochs}", best, curve


def _ending(key: MemberKey, event: MemberEnded, metric: str) -> str:
    if event.state == "running":
        return f"{_name(key)} is trained by another driver"
    line = f"{_name(key)} {event.state} ({event.stop_reason}) after {event.epochs} epochs"
    if event.value is not None:
        line += f": {metric} {event.value:.4g} at epoch {event.best_epoch}"
    return line + (f": {event.error.strip().splitlines()[-1]}" if event.error else "")
