"""Show the log and the live display while a sweep runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from chemprop_hpo.hpo.commands.console import errors
from chemprop_hpo.hpo.commands.logs import show_log
from chemprop_hpo.hpo.commands.options import LogLevel

if TYPE_CHECKING:
    from chemprop_hpo.hpo.progress.display import LiveDisplay

__all__ = ["watched"]


@contextmanager
def watched(level: LogLevel) -> Iterator[LiveDisplay]:
    """Give a display for the sweep, and the terminal back at the end, however it ends."""
    from chemprop_hpo.hpo.progress.display import LiveDisplay

    console = errors()
    show_log(level.value, console)
    with LiveDisplay(console, quiet=level is LogLevel.WARNING) as display:
        yield display
