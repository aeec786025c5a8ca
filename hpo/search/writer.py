"""Writes to the study, delivered in order, and kept while its database is away."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice, takewhile
from typing import NamedTuple

from optuna.exceptions import UpdateFinishedTrialError

from chemprop_hpo.storage.news import TrialNews
from chemprop_hpo.storage.outages import is_full, is_outage

__all__ = ["StudyWriter"]

log = logging.getLogger(__name__)

SHORTEST_PAUSE_S = 1.0
PAUSE_PER_ATTEMPT = 3.0
"""An attempt may take seconds to fail; the sweep goes on for this many times as long."""


GATHER_S = 0.1
"""How long reports wait at most for others, so that they are written in one transaction."""

MOST_TOGETHER = 500


class Write(NamedTuple):
    """A change of one trial; making it twice is the same as making it once."""

    number: int
    make: Callable[[], None]
    news: TrialNews | None = None
    """What the change is, where it can be made together with others."""


class StudyWriter:
    """Makes changes of trials one after another; while the database is away they wait.

    So a sweep goes on when a server is restarted: workers train, and what they report arrives
    later, in the order in which it was reported. Reports that come one right after the other
    are written in one transaction, the first of them at once.

    Parameters
    ----------
    on_taken : callable
        Called with the number of a trial that another driver has ended: this one was taken
        for dead. What was still to be written to that trial is dropped.
    clock : callable
        Seconds on any scale that only grows.
    write_news : callable, optional
        Writes what several trials have reached, in one transaction: `report` needs it.
    """

    def __init__(
        self,
        on_taken: Callable[[int], None],
        clock: Callable[[], float] = time.monotonic,
        write_news: Callable[[Sequence[TrialNews]], None] = lambda news: None,
    ) -> None:
        self._on_taken = on_taken
        self._clock = clock
        self._write_news = write_news
        self._due_at = 0.0
        self._queue: deque[Write] = deque()
        self._next_attempt = 0.0
        self._away_since: float | None = None
        self.full: str | None = None
        """What the database said when it had no room left. None as long as it has."""

    @property
    def waiting(self) -> int:
        """How many changes wait for the database."""
        return len(self._queue)

    def put(self, number: int, make: Callable[[], None]) -> None:
        """Make a change of trial ``number`` now, or as soon as the database is back.

        Parameters
        ----------
        number : int
            The trial.
        make : callable
            Makes the change. It may be called again after it failed, or after it succeeded
            and the answer was lost.
        """
        self._queue.append(Write(number, make))
        self.flush()

    def report(self, number: int, news: TrialNews) -> None:
        """Write what trial ``number`` has reached: now, or with what others report in a moment."""
        self._queue.append(Write(number, lambda: self._write_news([news]), news))
        self.turn()

    def turn(self) -> None:
        """Make what waits if it has waited long enough; called again and again."""
        if self._queue and self._clock() >= self._due_at:
            self.flush()
            self._due_at = self._clock() + GATHER_S

    def flush(self) -> bool:
        """Make what waits, unless the database was away just now; return whether all is made."""
        while self._queue and self._clock() >= self._next_attempt:
            began = self._clock()
            try:
                if not self._make_together():
                    self._make_first()
            except Exception as error:
                if not self.excuse(error, began):
                    raise
        return not self._queue

    def excuse(self, error: Exception, began: float | None = None) -> bool:
        """Whether an error only says that the database is away or full; that is then noted.

        Parameters
        ----------
        error : Exception
            From any access to the study.
        began : float, optional
            When the access began, by the writer's clock.
        """
        now = self._clock()
        if is_full(error):
            self.full = str(error.__cause__ or error).splitlines()[0]
        elif not is_outage(error):
            return False
        elif self._away_since is None:
            self._away_since = now if began is None else began
            log.warning("the database is away; training goes on, and what it reports waits")
        lasted = 0.0 if began is None else now - began
        self._next_attempt = now + max(SHORTEST_PAUSE_S, PAUSE_PER_ATTEMPT * lasted)
        return True

    def may_ask(self) -> bool:
        """Whether nothing waits and the database was not away a moment ago."""
        return self.flush() and self._clock() >= self._next_attempt

    def may_read(self) -> bool:
        """Whether the database was not away a moment ago, and nothing has waited for it since."""
        return self._away_since is None and self._clock() >= self._next_attempt

    def note_success(self) -> None:
        """Be told that the study could be accessed."""
        if self._away_since is not None:
            log.warning("the database is back after %.0f s", self._clock() - self._away_since)
            self._away_since = None

    def _make_together(self) -> bool:
        """Make all reports at the head of the queue; False where each must be made for itself."""
        reports = [w.news for w in takewhile(lambda w: w.news, islice(self._queue, MOST_TOGETHER))]
        if len(reports) < 2:
            return False
        try:
            self._write_news([news for news in reports if news is not None])
        except Exception as error:
            if is_outage(error) or is_full(error):
                raise
            return False  # which of them it is shows one by one
        for _ in reports:
            self._queue.popleft()
        self.note_success()
        return True

    def _make_first(self) -> None:
        write = self._queue[0]
        try:
            write.make()
        except UpdateFinishedTrialError:
            self._drop(write.number)
        except Exception as error:
            if not (is_outage(error) or is_full(error)):
                self._queue.popleft()  # it would fail for ever
            raise
        else:
            self._queue.popleft()
            self.note_success()

    def _drop(self, number: int) -> None:
        self._queue = deque(write for write in self._queue if write.number != number)
        self._on_taken(number)
