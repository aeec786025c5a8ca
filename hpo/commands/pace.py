"""Say while a file is predicted how far that is, and how fast it goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from chemprop_hpo.hpo.commands.console import errors
from chemprop_hpo.hpo.progress.wording import duration

if TYPE_CHECKING:
    from rich.console import Console

    from chemprop_hpo.hpo.predictor.streaming import Counts

__all__ = ["Pace", "shown_pace"]

PLAIN_LINE_S = 30.0


@contextmanager
def shown_pace() -> Iterator[Callable[[Counts], None]]:
    """Give what is to be told of each part: a line that changes, or now and then a new one."""
    console = errors()
    if console.is_terminal and not console.is_dumb_terminal:
        with console.status("predicting") as status:
            pace = Pace()
            yield lambda counts: status.update(pace.line(counts))
    else:
        yield _Lines(console).show


class Pace:
    """Rows a second since it was made.

    Parameters
    ----------
    clock : callable
        Seconds on a clock that never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()

    def line(self, counts: Counts) -> str:
        """Return ``12,000 rows, 850 a second, 34 %, about 4 min left``."""
        elapsed = max(self._clock() - self._began, 1e-9)
        line = f"{counts.rows:,} rows, {counts.rows / elapsed:,.0f} a second"
        if not counts.share:
            return line
        left = elapsed / counts.share - elapsed
        return f"{line}, {counts.share:.0%}" + (f", {duration(left)} left" if left > 0 else "")


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._pace = Pace()
        self._last = time.monotonic()

    def show(self, counts: Counts) -> None:
        now = time.monotonic()
        if now - self._last >= PLAIN_LINE_S:
            self._last = now
            self._console.print(self._pace.line(counts), soft_wrap=True)
